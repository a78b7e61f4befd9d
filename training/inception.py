"""The features of FID and KID as everybody reports them: InceptionV3 as torch-fidelity has it (Obukhov et al. 2020).

Protocol: grey becomes RGB by repeating it; images of any size, uint8, are resized to 299x299 by the bilinear
interpolation of TensorFlow 1 (no antialiasing, corners not aligned), then (x - 128) / 128; the features are the 2048
of the last pooling. ImageNet's categories know little about faces of 48 pixels: these figures are for comparison with
the literature, the judge's own features for decisions.

The weights are a file of 95 MB that is not part of this repository, and nothing here downloads it.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

#: One file under two names: torch-fidelity's and pytorch-fid's. Both stand on those projects' release pages.
NAMES: Final = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")

PROTOCOL: Final = "torch-fidelity InceptionV3 2048, grey repeated to RGB, TensorFlow 1 bilinear to 299x299"


class InceptionError(Exception):
    """Inception's features are not to be had on this machine; the text is one sentence that says what to do."""


class Inception:
    """InceptionV3 up to its last pooling."""

    name: Final = PROTOCOL

    def __init__(self, network: Any, device: str = "cpu", batch: int = 64) -> None:
        self._network = network.to(device)
        self._device = device
        self._batch = batch

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return features ``[N, 2048]`` of images uint8 ``[N, C, H, W]``, C 1 or 3, 0..255."""
        if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
            raise ValueError(f"expected uint8 images [N, 1 or 3, H, W], got {images.dtype} {images.shape}")
        out = np.empty((len(images), 2048), np.float32)
        for i in range(0, len(images), self._batch):
            part = torch.from_numpy(np.ascontiguousarray(images[i : i + self._batch])).to(self._device)
            with torch.no_grad():
                out[i : i + self._batch] = self._network(part.expand(-1, 3, -1, -1))[0].cpu().numpy()
        return out


def default_places() -> list[Path]:
    """Where the weights are looked for: torch's own folder for downloads, under either name."""
    return [Path(torch.hub.get_dir()) / "checkpoints" / name for name in NAMES]


def load_inception(
    weights: Path | None = None, *, device: str = "cpu", batch: int = 64, places: Sequence[Path] | None = None
) -> Inception:
    """Load InceptionV3 from ``weights``, or from the first of ``places`` (None: :func:`default_places`) that exists.

    Raises:
        InceptionError: torch-fidelity or the weights are missing, or they are not InceptionV3's.
    """
    try:
        library = import_module("torch_fidelity")
    except ImportError as error:
        raise InceptionError(
            f"torch-fidelity, which has InceptionV3, cannot be imported ({error}); pip install torch-fidelity."
        ) from error
    found = [Path(weights)] if weights is not None else list(default_places() if places is None else places)
    path = next((place for place in found if place.is_file()), None)
    if path is None:
        raise InceptionError(
            f"InceptionV3's weights are missing; download {NAMES[0]} from torch-fidelity's releases to {found[0]}."
        )
    try:
        # torch-fidelity unpickles the file without restraint; one that passes here holds tensors and nothing that runs.
        torch.load(path, map_location="cpu", weights_only=True)
        network = library.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, AttributeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InceptionError(f"{path} does not hold InceptionV3's weights ({reason}).") from error
    return Inception(network, device, batch)

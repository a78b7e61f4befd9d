"""dlib's networks, as the packages ``dlib-bin`` and ``face_recognition_models`` bring them: the extra ``identity``."""

from __future__ import annotations

from importlib import import_module, util
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_HINT: Final = "install it with: pip install dlib-bin face_recognition_models"


class DlibError(Exception):
    """A network of dlib's cannot be used on this machine; the text is one sentence that says what to do."""


def load_network(kind: str, file: str, weights: Path | None = None) -> tuple[Any, str]:
    """Load a network of dlib's: ``kind`` is the name of its class, ``file`` the name of its weight file.

    The weights are read from ``weights``, or from the installed package ``face_recognition_models``.

    Returns:
        The network and dlib's version.

    Raises:
        DlibError: dlib or the weights are not installed, or do not load.
    """
    try:
        dlib = import_module("dlib")
    except ImportError as error:
        raise DlibError(f"dlib cannot be imported ({error}); {_HINT}.") from error
    path = _find_weights(file) if weights is None else Path(weights)
    if not path.is_file():
        raise DlibError(f"dlib's weights {path} do not exist; name none to take those of face_recognition_models.")
    try:
        return getattr(dlib, kind)(str(path)), str(getattr(dlib, "__version__", "of unknown version"))
    except RuntimeError as error:
        raise DlibError(f"{path} does not hold the weights of dlib's {kind} ({error}).") from error


def _find_weights(file: str) -> Path:
    # Found without importing the package: it imports pkg_resources, which today's setuptools no longer has.
    spec = util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / file
        if path.is_file():
            return path
    raise DlibError(f"dlib's weights ({file}, of the package face_recognition_models) are missing; {_HINT}.")


def enlarge(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize images uint8 ``[N, C, H, W]``, C 1 or 3, with Lanczos to RGB ``[N, side, side, 3]``, grey repeated.

    Raises:
        ValueError: the array is of another shape or type.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 images [N, 1 or 3, H, W], got {images.dtype} {images.shape}")
    large = np.empty((len(images), side, side, 3), np.uint8)
    for row, image in zip(large, images, strict=True):
        picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))
        row[:] = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS).convert("RGB"))
    return large

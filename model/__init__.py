"""What a face model is: vocabulary, networks, weights and the sampler. No HTTP, no training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.emotions import EmotionError, EmotionMix, UnknownEmotion
    from model.encode import encode_face
    from model.sampler import FaceRequest, FaceSampler
    from model.weights import WeightsError, default_weights

__all__ = [
    "EmotionError",
    "EmotionMix",
    "FaceRequest",
    "FaceSampler",
    "UnknownEmotion",
    "WeightsError",
    "default_weights",
    "encode_face",
]

_HOMES = {
    **dict.fromkeys(("EmotionError", "EmotionMix", "UnknownEmotion"), "model.emotions"),
    **dict.fromkeys(("FaceRequest", "FaceSampler"), "model.sampler"),
    **dict.fromkeys(("WeightsError", "default_weights"), "model.weights"),
    "encode_face": "model.encode",
}


def __getattr__(name: str) -> Any:
    # Looked up when asked for: who needs the vocabulary alone must not wait two seconds for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

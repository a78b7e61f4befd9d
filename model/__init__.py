"""What a face model is: vocabulary, networks, weights and the sampler. No HTTP, no training."""

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

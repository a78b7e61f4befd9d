"""Queue -> batch -> sampler -> encoder. The door is :class:`Engine`."""

from service.engine.engine import DeadlineExceeded, Engine, EngineFailed, EngineStopped, QueueFull, Sampler
from service.engine.job import Encoding, ImageFormat, Picture, Timing

__all__ = [
    "DeadlineExceeded",
    "Encoding",
    "Engine",
    "EngineFailed",
    "EngineStopped",
    "ImageFormat",
    "Picture",
    "QueueFull",
    "Sampler",
    "Timing",
]

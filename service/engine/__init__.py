"""Queue -> batch -> sampler -> encoder. The door is :class:`Engine`."""

from service.engine.engine import Engine, EngineFailed, EngineStopped, QueueFull, Sampler
from service.engine.job import Encoding, ImageFormat

__all__ = ["Encoding", "Engine", "EngineFailed", "EngineStopped", "ImageFormat", "QueueFull", "Sampler"]

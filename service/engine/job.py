"""What travels through the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from model import FaceRequest

ImageFormat = Literal["png", "webp", "jpeg", "avif"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a face is written: its side in pixels (None: as generated) and its file format."""

    size: int | None = None
    format: ImageFormat = "png"


#: What decides the bytes of a picture, given the weights: a face's seed and all else, and how it is written. Plain
#: values, for a dataclass is hashed by a dozen calls of Python, and each request looks up some times.
Key = tuple[int | str, tuple[tuple[str, float], ...], float, float, int | None, ImageFormat]


def key_of(request: FaceRequest, encoding: Encoding) -> Key:
    """Return what a picture is known by while it is in flight, in the cache, and in its entity tag."""
    return (
        request.seed, request.mix.weights, request.intensity, request.truncation, encoding.size, encoding.format
    )  # fmt: skip


@dataclass(slots=True)
class Timing:
    """Seconds that a face spent in each room of the engine, and when it came there."""

    since: float  # time.monotonic() when it was queued
    queue: float = 0.0  # from its request until its batch was begun
    generate: float = 0.0  # the whole batch
    encode: float = 0.0  # its own picture alone
    encoded_from: float = 0.0  # time.monotonic()


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file, and how long it took; ``timing`` is None for one that lay ready."""

    content: bytes
    timing: Timing | None = None


@dataclass(slots=True, eq=False)
class Job:
    """One face that somebody waits for, or several people who asked for the very same. Compared by identity."""

    key: Key
    request: FaceRequest
    encoding: Encoding
    timing: Timing
    #: Whoever waits: resolved on the event loop with the image's bytes. Touched there only, as ``answered`` is.
    waiting: list[asyncio.Future[bytes]] = field(default_factory=list)
    answered: bool = False
    wanted: bool = True  # False for good when nobody waits any more


#: A job with the image's bytes or what went wrong.
Outcome = tuple[Job, bytes | Exception]

"""What travels through the engine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from model import FaceRequest

ImageFormat = Literal["png", "webp", "jpeg"]


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a face is written: its side in pixels (None: as generated) and its file format."""

    size: int | None = None
    format: ImageFormat = "png"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One face that somebody waits for. Compared by identity: two people may ask for the same face."""

    request: FaceRequest
    encoding: Encoding
    #: Resolved on the event loop with the image's bytes; cancelled when nobody waits any more.
    answer: asyncio.Future[bytes]


#: A job with the image's bytes or what went wrong.
Outcome = tuple[Job, bytes | Exception]

"""Several faces for one picture."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import FaceRequest
from service.engine import Encoding, Engine

#: Faces of one request in the engine: others want their turn too.
AT_ONCE: Final = 64


async def draw_all(engine: Engine, faces: Sequence[FaceRequest], encoding: Encoding) -> list[bytes]:
    """Return the image files of faces, in their order.

    Raises:
        QueueFull, DeadlineExceeded, EngineStopped, EngineFailed: of the first that failed; the others are given up.
    """
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(face: FaceRequest) -> bytes:
        async with gate:
            return (await engine.face(face, encoding)).content

    tasks = [asyncio.create_task(one(face)) for face in faces]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def draw_stills(engine: Engine, faces: Sequence[FaceRequest], size: int | None) -> list[NDArray[np.uint8]]:
    """Return the pixels of faces, uint8 ``[H, W, 1 or 3]`` each: those of the PNG that anybody gets for them.

    Raises:
        QueueFull, DeadlineExceeded, EngineStopped, EngineFailed: as :func:`draw_all`.
    """
    files = await draw_all(engine, faces, Encoding(size, "png"))
    return await asyncio.to_thread(lambda: [_pixels(file) for file in files])


def _pixels(file: bytes) -> NDArray[np.uint8]:
    pixels = np.asarray(Image.open(io.BytesIO(file)))
    return pixels[:, :, None] if pixels.ndim == 2 else pixels

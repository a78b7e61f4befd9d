"""Many faces in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from model.encode import encode_face

Face = NDArray[np.uint8]  # [H, W] or [H, W, C]


def sheet(
    rows: Sequence[Sequence[Face] | NDArray[np.uint8]],
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    scale: int = 2,
) -> Image.Image:
    """Put equally large faces into one picture: a row each, titles above the columns and left of the rows.

    ``scale`` enlarges each face's sides (Lanczos). A row may be shorter than the first one.
    """
    height, width = rows[0][0].shape[:2]
    grey = rows[0][0].ndim == 2 or rows[0][0].shape[2] == 1
    tall, wide = height * scale, width * scale
    top, left = (tall // 4 if columns else 0), (wide if names else 0)
    picture = Image.new("L" if grey else "RGB", (left + len(rows[0]) * wide, top + len(rows) * tall), "white")
    for y, row in enumerate(rows):
        for x, face in enumerate(row):
            tile = Image.fromarray(face[:, :, 0] if face.ndim == 3 and grey else face)
            picture.paste(tile.resize((wide, tall), Image.Resampling.LANCZOS), (left + x * wide, top + y * tall))
    pen = ImageDraw.Draw(picture)
    for x, title in enumerate(columns):
        _write(pen, title, (left + (x + 0.5) * wide, top / 2), wide, top * 0.7)
    for y, name in enumerate(names):
        _write(pen, name, (left / 2, top + (y + 0.5) * tall), left, tall * 0.18)
    return picture


def encode_grid(
    faces: Sequence[NDArray[np.uint8]],
    emotions: Sequence[str],
    seeds: Sequence[str],
    *,
    labels: bool = False,
    scale: int = 1,
    format: str = "png",
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Write people in rows and emotions in columns as one picture.

    Args:
        faces: uint8 ``[H, W, 1 or 3]`` each, all of one shape, row after row: ``len(seeds) * len(emotions)``.
        emotions: what the columns are called.
        seeds: what the rows are called.
        labels: whether these names are written above and beside the faces.
        scale: as for :func:`sheet`.
        format: as for :func:`model.encode.encode_face`.
        text: likewise.

    Returns:
        The file's bytes; equal arguments give equal bytes.
    """
    rows = [faces[start : start + len(emotions)] for start in range(0, len(faces), len(emotions))]
    pixels = np.asarray(sheet(rows, emotions if labels else (), seeds if labels else (), scale))
    return encode_face(pixels[:, :, None] if pixels.ndim == 2 else pixels, format=format, text=text)


def _write(pen: ImageDraw.ImageDraw, text: str, middle: tuple[float, float], room: float, size: float) -> None:
    """Write ``text`` around ``middle``, smaller than ``size`` where it would not fit into ``room`` pixels."""
    font = ImageFont.load_default(size)
    length = pen.textlength(text, font=font)
    if length > 0.95 * room:
        font = ImageFont.load_default(max(6.0, size * 0.95 * room / length))
    pen.text(middle, text, fill="black", font=font, anchor="mm")

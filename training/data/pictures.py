"""Pictures as people have them -> square uint8 pixels of one size."""

from __future__ import annotations

import io
import warnings
from pathlib import PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

#: What is taken for a picture by its name; what it is in truth, its content decides.
SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

NOT_A_PICTURE: Final = "not a picture file"

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

#: Left, top, right, bottom in pixels; the right and bottom edges are outside.
Box = tuple[float, float, float, float]


class _Refused(ValueError):
    """A picture that can be read, but is none of ours; Pillow's own ValueErrors speak of its insides."""


def is_picture(name: str) -> bool:
    """Whether a file is called like a picture."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def decode_picture(content: bytes, *, colour: bool, upright: bool = True) -> Image.Image:
    """Decode a picture file to mode RGB, or L (ITU-R 601 luma) without ``colour``.

    Of an animation the first frame is taken, transparency is laid over white, and EXIF's orientation is
    applied unless ``upright`` is False.

    Raises:
        ValueError: in a few words what is wrong: no picture, cut off, more than 8 bits a channel, or so many
            pixels that Pillow takes it for a decompression bomb (``Image.MAX_IMAGE_PIXELS``, 89 million).
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata; what matters raises
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if image.mode.startswith(("I", "F")):
                    raise _Refused("more than 8 bits a channel")
                image.load()
                return _flatten(_turn(image) if upright else image, "RGB" if colour else "L")
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ValueError("too many pixels for a picture of a face") from error
        except _Refused:
            raise
        except Exception as error:  # damaged files make Pillow's decoders raise nearly anything
            raise ValueError("not a readable image") from error


def square_pixels(image: Image.Image, size: int, box: Box | None = None) -> NDArray[np.uint8]:
    """Cut a square out of ``image`` (L or RGB) and bring it to ``size`` pixels with Pillow's Lanczos filter,
    which averages over what it shrinks.

    Args:
        box: the square; by default the largest one in the middle.

    Returns:
        uint8 ``[size, size]`` for L, ``[size, size, 3]`` for RGB.
    """
    box = box or middle_square(image.width, image.height)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))


def middle_square(width: int, height: int) -> Box:
    """Return the largest square in the middle of a picture, on whole pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def square_around(box: Box, width: int, height: int) -> Box:
    """Return the square with the middle and the longer side of ``box`` that lies within a picture.

    Where it would stick out it is moved inside, and made smaller only if it is larger than the picture: a
    face is never stretched and never padded.

    Raises:
        ValueError: the box has no area, or lies outside the picture.
    """
    left, top, right, bottom = box
    if not (left < right and top < bottom):
        raise ValueError("the face box has no area")
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"the face box lies outside the picture of {width}x{height} pixels")
    side = min(max(right - left, bottom - top), width, height)
    x = min(max((left + right - side) / 2, 0.0), width - side)
    y = min(max((top + bottom - side) / 2, 0.0), height - side)
    return x, y, x + side, y + side


def _turn(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF that nobody can read says nothing of the pixels
        return image


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)

"""Pixels to a picture file."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

if TYPE_CHECKING:
    from model.sampler import FaceRequest

#: The keyword under which PNG keeps an XMP packet (Adobe, XMP Specification Part 3, section 1.1.5).
XMP_KEY: Final = "XML:com.adobe.xmp"

#: Formats and their media types.
FORMATS: Final[Mapping[str, str]] = {
    "png": "image/png",
    "webp": "image/webp",
    "jpeg": "image/jpeg",
    "avif": "image/avif",
}
#: Endings of file names and addresses, and their formats.
SUFFIXES: Final[Mapping[str, str]] = {"png": "png", "webp": "webp", "jpg": "jpeg", "jpeg": "jpeg", "avif": "avif"}
#: How Pillow writes WebP that loses nothing: more effort makes such small pictures hardly smaller.
WEBP: Final[Mapping[str, Any]] = {"lossless": True, "quality": 50, "method": 2}
#: What writes the files: other versions may write other bytes for the same pixels.
ENCODER: Final = f"zlib-{zlib.ZLIB_RUNTIME_VERSION} pillow-{PIL.__version__}"

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")  # in a file's name
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOURS: Final = {1: 0, 3: 2}  # PNG's numbers for grey and RGB
_UP: Final = 2  # PNG's number for lines that hold differences from the lines above them


def png_info(text: Mapping[str, str]) -> PngInfo:
    """Return text chunks (keyword to text) as Pillow takes them."""
    info = PngInfo()
    for key, value in text.items():
        info.add_itxt(key, value)
    return info


def as_image(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return pixels, uint8 ``[H, W, 1 or 3]``, as Pillow takes them."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def resized(pixels: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Return a face, uint8 ``[H, W, 1 or 3]``, with ``size`` pixels a side (Lanczos); None keeps its own."""
    if size is None or (size, size) == pixels.shape[:2]:
        return pixels
    larger = np.asarray(as_image(pixels).resize((size, size), Image.Resampling.LANCZOS))
    return larger.reshape(size, size, pixels.shape[2])


def safe_names(request: FaceRequest) -> tuple[str, str]:
    """Return a face's emotions and its seed as parts of a file's name, the latter in ASCII letters, digits, - and _."""
    return "-".join([name for name, _ in request.mix.weights]), _UNSAFE.sub("_", str(request.seed)[:64])


def file_name(request: FaceRequest, format: str) -> str:
    """Return a name to save a face under, and its ending."""
    return f"{'-'.join(safe_names(request))}.{'jpg' if format == 'jpeg' else format}"


def encode_face(
    pixels: NDArray[np.uint8], size: int | None = None, format: str = "png", text: Mapping[str, str] | None = None
) -> bytes:
    """Encode one face.

    Args:
        pixels: uint8 ``[H, W, 1 or 3]``.
        size: pixels a side of the picture, Lanczos-resampled; None keeps the face's own.
        format: a key of :data:`FORMATS`. PNG and WebP are lossless; JPEG has quality 95, AVIF 90.
        text: PNG text chunks (keyword to text); the other formats carry only what stands under :data:`XMP_KEY`.

    Returns:
        The file's bytes; equal arguments give equal bytes.
    """
    pixels = resized(pixels, size)
    text = text or {}
    if format == "png":
        return _png(pixels, text)
    image, out = as_image(pixels), io.BytesIO()
    xmp = text.get(XMP_KEY, "").encode()
    if format == "webp":
        image.save(out, "WEBP", **WEBP, xmp=xmp)
    elif format == "jpeg":
        image.save(out, "JPEG", quality=95, xmp=xmp)
    elif format == "avif":
        sampling = "4:0:0" if image.mode == "L" else "4:4:4"
        image.save(out, "AVIF", quality=90, subsampling=sampling, speed=8, max_threads=1, xmp=xmp)
    else:
        raise ValueError(f"unknown picture format {format!r}; known: {', '.join(FORMATS)}.")
    return out.getvalue()


def _png(pixels: NDArray[np.uint8], text: Mapping[str, str]) -> bytes:
    """Write a PNG of 8 bits a channel (PNG, 3rd edition), its text before its pixels.

    By ourselves, because right after a face has been drawn, with nothing in the caches but weights, Pillow's way
    through its plugins takes 0.23 ms and this 0.1 (benchmarks/encoders.py); the face took 1.5.
    """
    height, width, channels = pixels.shape
    lines = pixels.reshape(height, -1)
    filtered = np.empty((height, lines.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
    # What is as noisy as faces hardly repeats itself; to look for more than runs takes ten times as long at 512 pixels.
    deflate = zlib.compressobj(strategy=zlib.Z_RLE)
    data = deflate.compress(filtered.data) + deflate.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    parts = (_SIGNATURE, _chunk(b"IHDR", head), text_chunks(text), _chunk(b"IDAT", data), _chunk(b"IEND", b""))
    return b"".join(parts)


def text_chunks(text: Mapping[str, str]) -> bytes:
    """Return text (keyword to text) as iTXt chunks, neither compressed nor translated (PNG, section 11.3.3.4)."""
    return b"".join(_chunk(b"iTXt", key.encode("latin-1") + bytes(5) + value.encode()) for key, value in text.items())


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(content, zlib.crc32(kind)).to_bytes(4)

"""Faces that move."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import EmotionMix
from model.encode import WEBP, XMP_KEY, as_image, png_info

#: Animated formats and their media types.
ANIMATED: Final[Mapping[str, str]] = {"webp": "image/webp", "apng": "image/apng", "gif": "image/gif"}


#: What a face shows at one moment: a mix and its intensity.
Moment = tuple[EmotionMix, float]


def plan_frames(
    keys: Sequence[Moment], frames: int, *, closed: bool = False, vocabulary: Sequence[str]
) -> list[Moment]:
    """Return what each frame shows, on straight lines from one key frame to the next; the key frames are among them.

    Args:
        keys: at least 2.
        frames: from one key frame to the next, at least 1.
        closed: whether it leads from the last key frame back to the first, which is not shown again at the end.
        vocabulary: of all mixes.

    Returns:
        ``frames * (len(keys) - 1) + 1`` moments, or ``frames * len(keys)`` where it is closed.
    """
    corners = [*keys, keys[0]] if closed else list(keys)
    moments = [
        here.towards(there, step / frames, (weak, strong), vocabulary) if step else (here, weak)
        for (here, weak), (there, strong) in pairwise(corners)
        for step in range(frames)
    ]
    return moments if closed else [*moments, corners[-1]]


def encode_animation(
    frames: Sequence[NDArray[np.uint8]],
    format: str,
    milliseconds: int,
    *,
    loops: int = 0,
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Write an animation whose frames have the very pixels that they are given as.

    Args:
        frames: uint8 ``[H, W, 1 or 3]`` each, all of one shape.
        format: a key of :data:`ANIMATED`. WebP and APNG are lossless; so is GIF where the faces are grey, for it holds
            256 of them, and in colour it keeps the 256 nearest.
        milliseconds: how long each frame is shown, at least 1; GIF counts in tens and shows no frame for less than 20.
        loops: how often it is played; 0 for ever.
        text: as for :func:`model.encode.encode_face`; GIF carries the text of its ``Description`` as a comment.

    Returns:
        The file's bytes; equal arguments give equal bytes.

    Raises:
        ValueError: the format is unknown.
    """
    if format not in ANIMATED:
        raise ValueError(f"unknown animated format {format!r}; known: {', '.join(ANIMATED)}.")
    images = [as_image(frame) for frame in frames]
    text = text or {}
    common: dict[str, Any] = {"save_all": True, "append_images": images[1:], "duration": milliseconds, "loop": loops}
    out = io.BytesIO()
    if format == "webp":
        images[0].save(out, "WEBP", **WEBP, xmp=text.get(XMP_KEY, "").encode(), **common)
    elif format == "apng":
        images[0].save(out, "PNG", pnginfo=png_info(text), compress_type=zlib.Z_RLE, **common)
    else:
        images[0].save(out, "GIF", comment=text.get("Description", "").encode(), **common)
    return out.getvalue()

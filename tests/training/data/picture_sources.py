"""Pictures and folders of them in the layouts that people download, made here."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, width: int = 60, height: int = 60) -> Image.Image:
    """A smooth colour picture, another one for each number; smooth, so that JPEG hardly changes it."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 2, y * 2, (x + y) + number * 23 % 120], axis=2)
    return Image.fromarray(np.clip(base + number * 7 % 60, 0, 255).astype(np.uint8))


def save(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def zip_of(folder: Path, out: Path) -> Path:
    """Pack a folder as people do: with its own name in front, and macOS's litter."""
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        archive.writestr(f"__MACOSX/{folder.name}/._1.jpg", b"litter")
    return out

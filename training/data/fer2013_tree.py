"""FER-2013 as a folder tree, ``train|test/<emotion>/*.jpg``, the way Kaggle's most used copy has it.

The tree has lost the table's rows, so images are numbered in the order of their sorted paths, and
``dataset.json`` of the packed data set lists under ``origins`` which file each one came from.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.emotions import FER2013, UnknownEmotion, canonical_emotion
from training.data.errors import DataError
from training.data.packed import DatasetWriter
from training.data.report import PrepareReport

#: What the folder of a split may be called (any case). FER-2013's two test parts are one folder in the tree.
SPLIT_FOLDERS: Final = {"training": ("train", "training"), "test": ("test",)}

NOT_AN_IMAGE: Final = "not a .jpg or .png file"

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})
_REPORT_EVERY: Final = 256


def add_tree(source: Path, writer: DatasetWriter, report: PrepareReport, progress: Callable[[int, int], None]) -> None:
    """Write the images of ``report.split`` into ``writer`` and count them in ``report``.

    Colour images become grey (ITU-R 601 luma, as Pillow does it); images of another size than
    ``report.resolution`` count as damaged.

    Raises:
        DataError: no folder of that split, or a folder in it that is no emotion.
    """
    try:
        files = _list_files(source, report.split)
    except OSError as error:
        raise DataError(f"cannot read {error.filename or source}: {error.strerror or error}.") from error
    for index, (origin, path, emotion) in enumerate(files):
        if index % _REPORT_EVERY == 0:
            progress(index, len(files))
        if path.suffix.lower() not in _SUFFIXES:
            report.add_skipped(index + 1, NOT_AN_IMAGE)
            continue
        try:
            pixels = _read_grey(path, report.resolution)
        except ValueError as error:
            report.add_bad(index + 1, str(error), origin)
            continue
        label = [float(name == emotion) for name in FER2013]
        writer.add(index, pixels, label, origin=origin)
        report.add_written(label)
    progress(len(files), len(files))


def _list_files(source: Path, split: str) -> list[tuple[str, Path, str]]:
    """Return (path in the source, path, emotion) of a split's files, sorted; hidden ones left out."""
    if split not in SPLIT_FOLDERS:
        raise DataError(f"a folder tree has no split {split!r}; choose one of {', '.join(SPLIT_FOLDERS)}.")
    root = _split_folder(source, split)
    files = []
    for folder in _visible(root):
        if not folder.is_dir():
            continue
        try:
            emotion = canonical_emotion(folder.name, FER2013)
        except UnknownEmotion as error:
            raise DataError(f"the folder {folder} is not named after an emotion: {error}") from error
        for path in _visible(folder):
            if path.is_file():
                files.append((path.relative_to(source).as_posix(), path, emotion))
    return sorted(files)


def _split_folder(source: Path, split: str) -> Path:
    """Find the split's folder in ``source`` or in a folder of it, as archives like to unpack."""
    for parent in (source, *(path for path in _visible(source) if path.is_dir())):
        for path in _visible(parent):
            if path.name.lower() in SPLIT_FOLDERS[split] and path.is_dir():
                return path
    raise DataError(f"{source} holds no folder {SPLIT_FOLDERS[split][0]!r} with a folder for each emotion in it.")


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")


def _read_grey(path: Path, resolution: int) -> NDArray[np.uint8]:
    """Return uint8 ``[resolution, resolution]``; ValueError says what is wrong with the file."""
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            if image.size != (resolution, resolution):
                raise ValueError(f"{image.width}x{image.height} pixels instead of {resolution}x{resolution}")
            if image.mode.startswith(("I", "F")):
                raise ValueError("more than 8 bits a channel")
            return np.asarray(image.convert("L"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("not a readable image") from error

"""AffectNet as its authors hand it out: lists of pictures with a face box in each.

``Manually_Annotated_file_lists/{training,validation}.csv`` and ``Manually_Annotated_Images/<dir>/<hash>.jpg``, in
any folder of the source. Rows without one of the eight emotions, or with a face box below 0, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePosixPath

from training.data.affectnet_expressions import label_of, read_expression, why_left_out
from training.data.errors import DataError
from training.data.packed import DatasetWriter
from training.data.pictures import Box, decode_picture, square_around, square_pixels
from training.data.report import PrepareReport
from training.data.tables import Table
from training.data.trees import Tree

NO_FACE_BOX = "AffectNet: no face box"

_COLUMNS = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "expression")
_LISTS = ("training.csv", "validation.csv")
_IMAGES = "manually_annotated_images"
_REPORT_EVERY = 64


def find_tables(tree: Tree) -> dict[str, str]:
    """Return the list of each split, by split; empty if this is not the layout."""
    found: dict[str, str] = {}
    for name in tree.files:
        path = PurePosixPath(name.lower())
        if path.name in _LISTS and found.setdefault(path.stem, name) != name:
            raise DataError(f"{tree.source} holds two lists, {found[path.stem]} and {name}: name the folder of one.")
    return found


def add_tables(
    tree: Tree, table: str, writer: DatasetWriter, report: PrepareReport, progress: Callable[[int, int], None]
) -> None:
    """Write the faces of the list ``table`` into ``writer`` and count them in ``report``.

    Boxes count in pixels as they are stored, so EXIF's orientation is not applied here. ``writer.meta`` gets
    the list's SHA-256.

    Raises:
        DataError: there is no folder of pictures, or the list cannot be read.
    """
    images = _images_folder(tree)
    with Table(tree.source / table, _COLUMNS, stream=tree.open(table)) as rows:
        for row, (line, fields) in enumerate(rows):
            if row % _REPORT_EVERY == 0:
                progress(rows.position, rows.size)
            try:
                if fields is None:
                    raise ValueError("not a row with the columns of the first line")
                expression = read_expression(fields[5])
                box = _read_box(fields[1:5])
                reason = why_left_out(expression) or (NO_FACE_BOX if box is None else None)
                if reason or box is None:
                    report.add_skipped(line, reason or NO_FACE_BOX)
                    continue
                name = images + fields[0].strip()
                if name not in tree:
                    raise ValueError(f"there is no picture {name[:200]}")
                picture = decode_picture(tree.read(name), colour=report.channels == 3, upright=False)
                pixels = square_pixels(picture, report.resolution, square_around(box, *picture.size))
            except ValueError as error:
                report.add_bad(line, str(error))
                continue
            label = label_of(expression)
            writer.add(row, pixels, label, origin=name)
            report.add_written(label)
        progress(rows.size, rows.size)
        writer.meta["csv_sha256"] = rows.sha256


def _images_folder(tree: Tree) -> str:
    """Return where the list's paths begin, with a slash at the end."""
    found = set()
    for name in tree.files:
        at = f"/{name.lower()}".find(f"/{_IMAGES}/")
        if at >= 0:
            found.add(name[: at + len(_IMAGES) + 1])
    if len(found) != 1:
        what = f"{len(found)} folders" if found else "no folder"
        raise DataError(f"{tree.source} holds {what} Manually_Annotated_Images with the pictures of its lists.")
    return found.pop()


def _read_box(texts: list[str]) -> Box | None:
    """Return the face box, or None where AffectNet has none (a number below 0). Raises ValueError."""
    try:
        x, y, width, height = map(float, texts)
    except ValueError:
        raise ValueError(f"the face box {','.join(texts)[:40]!r} is not four numbers") from None
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError(f"the face box {','.join(texts)[:40]!r} is not four numbers")
    if min(x, y, width, height) < 0:
        return None
    return x, y, x + width, y + height

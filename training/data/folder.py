"""Any folder of class folders with pictures, ``happy/1.jpg sad/2.png ...``, or a zip of it.

A class is called as its folder is, in lower case; folders named after an emotion or an alias of it (``Joy``) mean
that emotion, and folders of the same class are one. The vocabulary is the emotions among them in FER+'s order,
then the others in the alphabet's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from model.emotions import ALIASES, FERPLUS
from training.data.errors import DataError
from training.data.packed import DatasetWriter
from training.data.pictures import NOT_A_PICTURE, decode_picture, is_picture, square_pixels
from training.data.report import PrepareReport
from training.data.trees import Tree, refuse_overwriting

TOO_DEEP: Final = "in a folder of a class folder"
NO_CLASS: Final = "in no class folder"

#: More is a mistake (a folder for each picture, say), and a vector for each image would take gigabytes.
MOST_CLASSES: Final = 1000

_REPORT_EVERY: Final = 64

Progress = Callable[[int, int], None]


def prepare_folder(
    source: Path, out: Path, *, size: int = 48, grey: bool = False, progress: Progress | None = None
) -> PrepareReport:
    """Turn a folder of class folders into a packed data set.

    The middle square of each picture is brought to ``size`` with Lanczos; see ``pictures.decode_picture`` for
    orientation, transparency and animations. Pictures deeper than a class folder or outside of one, and other
    files, are left out and counted.

    Args:
        source: the folder or zip; a single folder without pictures around the class folders does no harm.
        out: the zip to write; replaced only when everything went well.
        size: pixels a side of the images to write.
        grey: write grey (luma) instead of RGB.
        progress: called with (done, total) files now and then.

    Raises:
        DataError: anything the user must put right, for example no class folders, or more than 1 % damaged
            pictures. No output is left then.
    """
    source, out = Path(source), Path(out)
    refuse_overwriting(out, source)
    with Tree(source) as tree:
        root = _find_root(tree.files)
        names = [name for name in tree.files if name.startswith(root)]
        inside = [name[len(root) :] for name in names]
        classes = _vocabulary(tree.source, inside)
        report = PrepareReport(classes, size, 1 if grey else 3, "all")
        with DatasetWriter(
            out, emotions=classes, resolution=size, channels=report.channels, meta={"name": "folder"}
        ) as writer:
            for index, name in enumerate(names):
                if progress and index % _REPORT_EVERY == 0:
                    progress(index, len(names))
                _add(tree, name, inside[index], index, writer, report)
            if progress:
                progress(len(names), len(names))
            report.check(source)
            writer.meta.update(report.summary())
    return report


def class_name(folder: str) -> str:
    """Return the class that a folder is called after."""
    key = folder.strip().lower()
    return ALIASES.get(key, key)


def _find_root(files: list[str]) -> str:
    """Return the folder of the class folders, with a slash at its end, or an empty text for the source."""
    root = ""
    while True:
        inside = [name[len(root) :] for name in files if name.startswith(root)]
        below = {name.split("/")[0] for name in inside if "/" in name}
        if len(below) != 1 or any(_depth(name) <= 1 and is_picture(name) for name in inside):
            return root
        root += f"{below.pop()}/"


def _depth(name: str) -> int:
    return name.count("/")


def _vocabulary(source: Path, inside: list[str]) -> tuple[str, ...]:
    folders = {name.split("/")[0] for name in inside if _depth(name) == 1 and is_picture(name)}
    if not folders:
        deep = next((name for name in inside if _depth(name) > 1 and is_picture(name)), None)
        if deep is not None:
            raise DataError(
                f"{source} holds pictures deeper than in a class folder, such as {deep}: name the folder right above "
                "the class folders."
            )
        raise DataError(f"{source} holds no folders of pictures, one for each class.")
    found = {class_name(folder) for folder in folders}
    if len(found) > MOST_CLASSES:
        raise DataError(f"{source} holds {len(found):,} class folders, more than {MOST_CLASSES:,}.")
    emotions = [name for name in FERPLUS if name in found]
    return (*emotions, *sorted(found.difference(emotions)))


def _add(tree: Tree, name: str, inside: str, index: int, writer: DatasetWriter, report: PrepareReport) -> None:
    if not is_picture(name):
        report.add_skipped(index + 1, NOT_A_PICTURE)
        return
    if _depth(inside) != 1:
        report.add_skipped(index + 1, TOO_DEEP if _depth(inside) else NO_CLASS)
        return
    try:
        picture = decode_picture(tree.read(name), colour=report.channels == 3)
    except ValueError as error:
        report.add_bad(index + 1, str(error), name)
        return
    wanted = class_name(inside.split("/")[0])
    label = [float(entry == wanted) for entry in report.emotions]
    writer.add(index, square_pixels(picture, report.resolution), label, origin=name)
    report.add_written(label)

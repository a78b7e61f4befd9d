"""CelebA (Liu et al. 2015, "Deep Learning Face Attributes in the Wild"): aligned faces with 40 attributes.

Read as a folder or a zip with ``list_attr_celeba.txt`` (the authors') or ``.csv`` (Kaggle's) and a folder
``img_align_celeba``, in any folder of it; or as the authors' ``img_align_celeba.zip`` with the list beside it. The
full pictures of 178x218 pixels, and smaller copies of that shape, such as 89x109.

Classes are the combinations of the chosen attributes: ``Smiling`` alone gives (neutral, happy), ``Smiling`` and
``Male`` give (neutral+not male, neutral+male, happy+not male, happy+male).

Crop: the square about (89, 121) with sides of 128 of the 178x218 pixels, which CelebA is commonly cut to for
GANs: from the hair line to the chin, the eyes where the alignment has put them, at 42 % of the height.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Final

from training.data.celeba_lists import PARTITION, NamedLists, choose_attributes, find_lists
from training.data.errors import DataError
from training.data.packed import DatasetWriter
from training.data.pictures import Box, decode_picture, is_picture, square_pixels
from training.data.report import MAX_BAD, PrepareReport
from training.data.splits import SPLITS, parse_split
from training.data.trees import Tree, refuse_overwriting

#: What an attribute's absence and presence are called, where that is not "not male" and "male".
NAMES: Final = {"Smiling": ("neutral", "happy")}

#: More would make classes that no face is in.
MOST_ATTRIBUTES: Final = 5

_IMAGES: Final = "img_align_celeba"
_REPORT_EVERY: Final = 64
_SHAPE: Final = (178, 218)
_MIDDLE: Final = (89, 121)
_SIDE: Final = 128

Progress = Callable[[int, int], None]


def prepare_celeba(
    source: Path,
    out: Path,
    *,
    attributes: Sequence[str] = ("Smiling",),
    split: str = "all",
    size: int = 48,
    grey: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Turn CelebA as downloaded into a packed data set.

    Args:
        source: folder or zip, see above.
        out: the zip to write; replaced only when everything went well.
        attributes: one to five of CelebA's, in any case, with blanks or underscores.
        split: ``all``, or ``training``, ``validation`` or ``test`` by ``list_eval_partition.txt`` or ``.csv``.
        size: pixels a side of the faces to write.
        grey: write grey (luma) instead of RGB.
        progress: called with (done, total) faces now and then.

    Raises:
        DataError: anything the user must put right, for example an attribute that CelebA does not have, lists
            that do not belong to the pictures, or more than 1 % damaged rows. No output is left then.
    """
    source, out = Path(source), Path(out)
    split = parse_split(split, ("all", *SPLITS))
    refuse_overwriting(out, source)
    with ExitStack() as stack:
        tree = stack.enter_context(Tree(source))
        lists = find_lists(tree, stack)
        columns = choose_attributes(attributes, lists, MOST_ATTRIBUTES)
        if split != "all" and not lists.partition:
            raise DataError(f"{source} holds no {PARTITION}.txt or .csv, so nobody knows its splits; use 'all'.")
        pictures = find_pictures(tree, stack)
        report = PrepareReport(class_names(columns), size, 1 if grey else 3, split)
        meta = {"name": "celeba", "attributes": list(columns), "list_sha256": lists.sha256}
        with DatasetWriter(
            out, emotions=report.emotions, resolution=size, channels=report.channels, meta=meta
        ) as writer:
            _add_faces(lists, columns, pictures, writer, report, progress or (lambda _done, _total: None))
            report.check(source)
            writer.meta.update(report.summary())
    return report


def class_names(attributes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of all combinations, the last attribute changing fastest, absent before present."""
    words = [attribute.lower().replace("_", " ") for attribute in attributes]
    pairs = [NAMES.get(name, (f"not {word}", word)) for name, word in zip(attributes, words, strict=True)]
    return tuple("+".join(names) for names in itertools.product(*pairs))


def face_square(width: int, height: int) -> Box:
    """Return the crop described above for a copy of any size. ValueError if it does not have CelebA's shape."""
    scale = width / _SHAPE[0]
    if abs(height - scale * _SHAPE[1]) > 1:
        raise ValueError(f"{width}x{height} pixels are not of the shape of CelebA's aligned 178x218")
    x, y, half = _MIDDLE[0] * scale, _MIDDLE[1] * height / _SHAPE[1], _SIDE / 2 * scale
    return x - half, y - half, x + half, y + half


class Pictures:
    """CelebA's pictures by the stem of their names: lists say .jpg even where the pictures are .png."""

    def __init__(self, tree: Tree, names: Sequence[str]) -> None:
        self.tree = tree
        self.names: dict[str, str] = {}
        for name in names:
            stem = PurePosixPath(name).stem
            if self.names.setdefault(stem, name) != name:
                raise DataError(f"{tree.source} holds the picture {stem} twice, {self.names[stem]} and {name}.")


def find_pictures(tree: Tree, stack: ExitStack) -> Pictures:
    """Find ``img_align_celeba/`` in the source, or ``img_align_celeba.zip``, which is opened on ``stack``."""
    found = list(_aligned(tree))
    if not found:
        zips = [name for name in tree.files if PurePosixPath(name).name.lower() == f"{_IMAGES}.zip"]
        if zips and tree.source.is_dir():
            tree = stack.enter_context(Tree(tree.source / zips[0]))
            found = list(_aligned(tree))
    if not found:
        raise DataError(f"{tree.source} holds no folder {_IMAGES} (or {_IMAGES}.zip) with pictures.")
    return Pictures(tree, found)


def _aligned(tree: Tree) -> Iterator[str]:
    # The pictures before alignment, in img_celeba, are called the same.
    for name in tree.files:
        if is_picture(name) and any(part.startswith(_IMAGES) for part in name.lower().split("/")[:-1]):
            yield name


def _add_faces(
    lists: NamedLists,
    columns: Sequence[str],
    pictures: Pictures,
    writer: DatasetWriter,
    report: PrepareReport,
    progress: Progress,
) -> None:
    listed = set()
    for index, row in enumerate(lists.rows()):
        if index % _REPORT_EVERY == 0:
            progress(index, lists.count)
        stem = PurePosixPath(row.picture).stem
        listed.add(stem)
        if report.split not in ("all", lists.partition.get(stem, report.split)):
            continue  # known to be of another split; one in none is damage in every split
        try:
            present = [row.value(column) for column in columns]
            if report.split != "all" and stem not in lists.partition:
                raise ValueError(f"no split is given for {row.picture[:40]}")
            if stem not in pictures.names:
                raise ValueError(f"there is no picture {row.picture[:40]}")
            name = pictures.names[stem]
            picture = decode_picture(pictures.tree.read(name), colour=report.channels == 3)
            pixels = square_pixels(picture, report.resolution, face_square(*picture.size))
        except ValueError as error:
            report.add_bad(row.line, str(error))
            continue
        combination = int("".join(map(str, present)), 2)
        label = [float(index == combination) for index in range(len(report.emotions))]
        writer.add(index, pixels, label, origin=name)
        report.add_written(label)
    unlisted = len(pictures.names.keys() - listed)
    if unlisted > MAX_BAD * len(pictures.names):
        raise DataError(
            f"{unlisted:,} of {len(pictures.names):,} pictures in {pictures.tree.source} are not in {lists.name}: "
            "it is cut off, or belongs to others."
        )
    progress(lists.count, lists.count)

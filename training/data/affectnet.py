"""AffectNet (Mollahosseini et al. 2017, arXiv:1708.03985): faces from the web with eight emotions.

It may not be handed on, so everybody has got it in another layout; all of these are recognised, as a folder or
as a zip of one: the authors' lists (``affectnet_tables``), AffectNet-8Labels, and class folders
(``affectnet_folders``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

from model.emotions import FERPLUS
from training.data.affectnet_expressions import label_of, why_left_out
from training.data.affectnet_folders import Face, annotated_faces, class_faces, find_annotated, find_classes
from training.data.affectnet_tables import add_tables, find_tables
from training.data.errors import DataError
from training.data.packed import DatasetWriter
from training.data.pictures import NOT_A_PICTURE, decode_picture, is_picture, square_pixels
from training.data.report import PrepareReport
from training.data.splits import parse_split
from training.data.trees import Tree, refuse_overwriting

LAYOUTS: Final = (
    "Manually_Annotated_file_lists/training.csv with Manually_Annotated_Images/, "
    "train_set/images/ with train_set/annotations/*_exp.npy, "
    "or class folders such as train/0/ or Train/Anger/"
)

_REPORT_EVERY: Final = 64

Progress = Callable[[int, int], None]

_Found = TypeVar("_Found")


def prepare_affectnet(
    source: Path,
    out: Path,
    *,
    split: str = "training",
    size: int = 48,
    colour: bool = False,
    progress: Progress | None = None,
) -> PrepareReport:
    """Turn AffectNet, in whatever layout it came, into a packed data set of one split.

    Faces are cut out where the layout has face boxes (made square, see ``pictures.square_around``), otherwise
    the middle square is taken; then brought to ``size`` with Lanczos.

    Args:
        source: a folder or a zip of it; the layout may stand in a folder of it.
        out: the zip to write; replaced only when everything went well.
        split: ``training`` (or ``train``), ``validation`` (or ``val``), or ``test`` where there is one.
        size: pixels a side of the faces to write.
        colour: write RGB instead of grey.
        progress: called with (done, total) now and then: bytes of a list, or pictures.

    Raises:
        DataError: anything the user must put right, for example an unknown layout, a split that is not there,
            or more than 1 % damaged pictures. No output is left then.
    """
    source, out = Path(source), Path(out)
    split = parse_split(split)
    refuse_overwriting(out, source)
    report = PrepareReport(FERPLUS, size, 3 if colour else 1, split)
    with (
        Tree(source) as tree,
        DatasetWriter(out, emotions=FERPLUS, resolution=size, channels=report.channels) as writer,
    ):
        writer.meta["name"] = "affectnet"
        tell = progress or (lambda _done, _total: None)
        if tables := find_tables(tree):
            writer.meta["layout"] = "lists"
            add_tables(tree, _choose(tables, split, source), writer, report, tell)
        elif annotated := find_annotated(tree):
            writer.meta["layout"] = "annotations"
            _add_faces(tree, annotated_faces(tree, _choose(annotated, split, source), report), writer, report, tell)
        elif classes := find_classes(tree):
            writer.meta["layout"] = "classes"
            faces, sha256 = class_faces(tree, _choose(classes, split, source), report)
            if sha256 is not None:
                writer.meta["csv_sha256"] = sha256
            _add_faces(tree, faces, writer, report, tell)
        else:
            raise DataError(f"{source} is no AffectNet in a layout known here: {LAYOUTS}.")
        report.check(source)
        writer.meta.update(report.summary())
    return report


def _choose(found: Mapping[str, _Found], split: str, source: Path) -> _Found:
    if split not in found:
        raise DataError(f"{source} holds no {split} set, only: {', '.join(sorted(found))}.")
    return found[split]


def _add_faces(tree: Tree, faces: list[Face], writer: DatasetWriter, report: PrepareReport, progress: Progress) -> None:
    for index, face in enumerate(faces):
        if index % _REPORT_EVERY == 0:
            progress(index, len(faces))
        if not is_picture(face.picture):
            report.add_skipped(index + 1, NOT_A_PICTURE)
            continue
        try:
            expression = face.expression()
            if reason := why_left_out(expression):
                report.add_skipped(index + 1, reason)
                continue
            picture = decode_picture(tree.read(face.picture), colour=report.channels == 3)
        except ValueError as error:
            report.add_bad(index + 1, str(error), face.picture)
            continue
        label = label_of(expression)
        writer.add(index, square_pixels(picture, report.resolution), label, origin=face.picture)
        report.add_written(label)
    progress(len(faces), len(faces))

"""AffectNet as folders of faces that are cut out already.

Two layouts, each in any folder of the source:

- AffectNet-8Labels: ``{train_set,val_set}/images/<id>.jpg`` with ``annotations/<id>_exp.npy`` beside it;
- class folders: ``{train,val,test}/<class>/*.jpg``, or ``<class>/*.jpg`` alone, which is all training. A class is
  a number 0 to 7 or a name. Above them a ``labels.csv`` (Kaggle's; columns pth, label) may name the class of
  pictures anew: then it is right, and the folder wrong.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from training.data.affectnet_expressions import read_expression
from training.data.errors import DataError
from training.data.report import PrepareReport
from training.data.splits import split_of
from training.data.tables import Table
from training.data.trees import Tree

LABELS_TABLE: Final = "labels.csv"

_ANNOTATION: Final = "_exp.npy"


@dataclass(frozen=True, slots=True)
class Face:
    """A picture of the source, and how to learn its expression, which may raise ValueError."""

    picture: str
    expression: Callable[[], str]


def find_annotated(tree: Tree) -> dict[str, str]:
    """Return the folder that holds ``images`` and ``annotations`` for each split (``training``,
    ``validation``); empty if this is not the layout."""
    found: dict[str, str] = {}
    for name in tree.files:
        parts = name.split("/")
        if len(parts) < 3 or parts[-2] != "annotations" or not name.endswith(_ANNOTATION):
            continue
        folder, split = "/".join(parts[:-2]), split_of(parts[-3])
        if split is not None and found.setdefault(split, folder) != folder:
            raise DataError(f"{tree.source} holds the {split} set twice, in {found[split]} and {folder}: remove one.")
    return found


def annotated_faces(tree: Tree, folder: str, report: PrepareReport) -> list[Face]:
    """Return the files in ``images`` of a split's folder, sorted; count annotations without one as damage."""

    def expression(picture: str) -> str:
        name = f"{folder}/annotations/{PurePosixPath(picture).stem}{_ANNOTATION}"
        if name not in tree:
            raise ValueError(f"there is no {name}")
        return read_expression(read_scalar(tree.read(name)))

    prefix = f"{folder}/images/"
    pictures = [name for name in tree.files if name.startswith(prefix)]
    stems = {PurePosixPath(name).stem for name in pictures}
    for name in tree.files:
        stem = PurePosixPath(name).name.removesuffix(_ANNOTATION)
        if name == f"{folder}/annotations/{stem}{_ANNOTATION}" and stem not in stems:
            report.add_bad(len(pictures) + len(report.bad) + 1, "its picture is missing", name)
    return [Face(name, lambda name=name: expression(name)) for name in pictures]  # type: ignore[misc]


def read_scalar(content: bytes) -> str:
    """Return the one value of an ``.npy`` file as text: a number or a string, of any shape with one entry.

    Its header is checked before anything is made of it, and pickles are refused: they are programs.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if dtype.kind not in "iufUS" or any(size != 1 for size in shape) or dtype.itemsize > 1024:
            raise ValueError("something else")
        stream.seek(0)
        value = np.load(stream, allow_pickle=False).reshape(()).item()
        if isinstance(value, bytes):
            value = value.decode("ascii")
        if isinstance(value, float) and value.is_integer():
            value = int(value)
    except Exception as error:  # numpy reads a header as Python's tokens, and passes on what that raises
        raise ValueError("its annotation is no .npy file with one number") from error
    return str(value)


def find_classes(tree: Tree) -> dict[str, list[str]]:
    """Return the class folders of each split, sorted; empty if this is not the layout.

    Class folders that stand in no split's folder are ``training``, unless others do.
    """
    folders = sorted({name.rpartition("/")[0] for name in tree.files})
    found: dict[str, list[str]] = defaultdict(list)
    for folder in folders:
        parent, _, last = folder.rpartition("/")
        if _is_class(last):
            found[split_of(parent.rpartition("/")[2]) or ""].append(folder)
    loose = found.pop("", [])
    if loose and not found:
        found["training"] = loose
    return dict(found)


def class_faces(tree: Tree, folders: list[str], report: PrepareReport) -> tuple[list[Face], str | None]:
    """Return the files in class folders, sorted, and the SHA-256 of the ``labels.csv`` above them, if any.

    Damaged rows of that table are counted in ``report``.

    Raises:
        DataError: the table names none of these pictures.
    """
    inside = set(folders)
    pictures = [name for name in tree.files if name.rpartition("/")[0] in inside]
    table = _table_above(tree, folders)
    if table is None:
        return [Face(name, lambda name=name: read_expression(name.split("/")[-2])) for name in pictures], None  # type: ignore[misc]
    rows, sha256 = _read_table(tree, table, report)
    same_name = Counter(map(_last, tree.files))
    faces, matched = [], 0
    for name in pictures:
        labels = _labels_of(name, rows, alone=same_name[_last(name)] == 1)
        matched += bool(labels)
        faces.append(Face(name, lambda name=name, labels=labels: _one_label(name, labels)))  # type: ignore[misc]
    if not matched:
        raise DataError(f"{table} in {tree.source} names none of the pictures in {folders[0]} and its like.")
    return faces, sha256


def _is_class(name: str) -> bool:
    try:
        read_expression(name)
    except ValueError:
        return False
    return True


def _table_above(tree: Tree, folders: list[str]) -> str | None:
    """Return the ``labels.csv`` nearest above the class folders (one may belong to each split), or None."""
    above = {parent.as_posix() for parent in PurePosixPath(folders[0]).parents}
    tables = [name for name in tree.files if _last(name) == LABELS_TABLE]
    tables = [name for name in tables if PurePosixPath(name).parent.as_posix() in above]
    return max(tables, key=lambda name: name.count("/"), default=None)


#: Rows by the last part of their paths: all parts in lower case, from the last to the first, and the label.
_Rows = dict[str, list[tuple[list[str], str]]]


def _read_table(tree: Tree, table: str, report: PrepareReport) -> tuple[_Rows, str]:
    rows: _Rows = defaultdict(list)
    with Table(tree.source / table, ("pth", "label"), stream=tree.open(table)) as lines:
        for line, fields in lines:
            if fields is None or not fields[0].strip():
                report.add_bad(line, "not a row with the columns of the first line", f"{table}, line {line:,}")
                continue
            parts = _parts(fields[0].strip().replace("\\", "/"))
            rows[parts[0]].append((parts, fields[1]))
        return rows, lines.sha256


def _labels_of(name: str, rows: _Rows, *, alone: bool) -> set[str]:
    """Return the labels of the rows that mean the picture ``name``: those whose paths have most in common.

    A row of another folder counts only if neither it nor the picture (``alone``) has a namesake anywhere.
    """
    candidates = rows.get(_last(name), [])
    parts = _parts(name)
    common = [_common(parts, row) for row, _ in candidates]
    best = max(common, default=0)
    if best < 2 and not (alone and len(candidates) == 1):
        return set()
    found = [label for (_, label), shared in zip(candidates, common, strict=True) if shared == best]
    return {label.strip().lower() for label in found}


def _one_label(name: str, labels: set[str]) -> str:
    if len(labels) > 1:
        raise ValueError(f"{LABELS_TABLE} calls it both {' and '.join(sorted(labels))}")
    return read_expression(next(iter(labels), name.split("/")[-2]))


def _parts(path: str) -> list[str]:
    return [part for part in reversed(path.lower().split("/")) if part not in ("", ".")] or [""]


def _last(path: str) -> str:
    return path.lower().rpartition("/")[2]


def _common(one: list[str], other: list[str]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count

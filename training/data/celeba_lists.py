"""CelebA's lists: attributes and splits of its pictures, as the authors write them (.txt) and as Kaggle does (.csv).

A .txt begins with the number of rows and the attributes' names and is divided by blanks; a .csv begins with its
columns' names and is divided by commas; the list of splits begins with neither in its .txt form.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from training.data.errors import DataError
from training.data.trees import Tree

ATTRIBUTES: Final = "list_attr_celeba"
PARTITION: Final = "list_eval_partition"

_SPLITS: Final = {"0": "training", "1": "validation", "2": "test"}
_VALUES: Final = {"1": 1, "-1": 0, "0": 0}


@dataclass(frozen=True, slots=True)
class Row:
    """One picture's attributes; ``line`` as an editor shows it, ``fields`` None where the row is damaged."""

    line: int
    picture: str
    fields: dict[str, str] | None

    def value(self, attribute: str) -> int:
        """Return 1 where the picture has the attribute, 0 where it has not. Raises ValueError."""
        if self.fields is None:
            raise ValueError("not a row with a value for every attribute")
        text = self.fields[attribute]
        if text not in _VALUES:
            raise ValueError(f"the value {text[:20]!r} of {attribute} is not one of -1 and 1")
        return _VALUES[text]


@dataclass(frozen=True, slots=True)
class NamedLists:
    """The list of attributes, and the split of each picture's stem (empty without a list of splits)."""

    name: str
    attributes: tuple[str, ...]
    lines: list[tuple[int, list[str]]]
    partition: dict[str, str]
    sha256: str

    @property
    def count(self) -> int:
        """How many pictures are listed."""
        return len(self.lines)

    def rows(self) -> Iterator[Row]:
        """Yield a row for each picture, in the list's order."""
        for line, (picture, *values) in self.lines:
            whole = len(values) == len(self.attributes)
            yield Row(line, picture, dict(zip(self.attributes, values, strict=True)) if whole else None)


def find_lists(tree: Tree, stack: ExitStack) -> NamedLists:
    """Read the lists in ``tree``, or, if it is the zip of pictures alone, those beside it.

    Raises:
        DataError: there is no list of attributes, two different ones, or one that is damaged.
    """
    name = _find(tree, ATTRIBUTES)
    if name is None and not tree.source.is_dir():
        beside = [tree.source.with_name(ATTRIBUTES + suffix) for suffix in (".txt", ".csv")]
        if any(path.exists() for path in beside):
            tree = stack.enter_context(Tree(tree.source.parent))
            name = next(path.name for path in beside if path.exists())
    if name is None:
        raise DataError(f"{tree.source} holds no {ATTRIBUTES}.txt or .csv, so nobody knows the faces' attributes.")
    text = tree.read_text(name)
    where = f"{tree.source / name}"
    table = _split_lines(text, name)
    announced = None
    if table and not name.lower().endswith(".csv"):
        announced = _announced(table.pop(0)[1], where)
    if len(table) < 2:
        raise DataError(f"{where} is empty or cut off.")
    header = table.pop(0)[1]
    if name.lower().endswith(".csv"):
        header = header[1:]  # the column of the pictures' names
    if announced not in (None, len(table)):
        raise DataError(f"{where} says that it has {announced:,} rows, but it has {len(table):,}: it is cut off.")
    partition = _read_partition(tree)
    return NamedLists(name, tuple(header), table, partition, hashlib.sha256(text.encode()).hexdigest())


def choose_attributes(wanted: Sequence[str], lists: NamedLists, most: int) -> tuple[str, ...]:
    """Return the list's own names for ``wanted``. Raises DataError: unknown, twice, none or more than ``most``."""
    known = {name.lower(): name for name in lists.attributes}
    chosen = []
    for name in wanted:
        key = name.strip().lower().replace(" ", "_")
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {known[close[0]]!r}?" if close else "."
            raise DataError(f"unknown attribute {name[:40]!r}{hint} Known: {', '.join(lists.attributes)}.")
        chosen.append(known[key])
    if not 1 <= len(set(chosen)) == len(chosen) <= most:
        raise DataError(f"choose one to {most} different attributes, not {len(chosen)} ({', '.join(chosen)}).")
    return tuple(chosen)


def _find(tree: Tree, stem: str) -> str | None:
    names = (f"{stem}.txt", f"{stem}.csv")
    found = [name for name in tree.files if PurePosixPath(name).name.lower() in names]
    if len(found) > 1:
        raise DataError(f"{tree.source} holds two lists, {found[0]} and {found[1]}: remove one.")
    return found[0] if found else None


def _split_lines(text: str, name: str) -> list[tuple[int, list[str]]]:
    """Return (line number, fields) of every line that is not blank."""
    comma = "," if name.lower().endswith(".csv") else None  # None: any run of blanks
    lines = enumerate(text.splitlines(), 1)
    return [(line, [field.strip() for field in raw.split(comma)]) for line, raw in lines if raw.strip()]


def _announced(fields: list[str], where: str) -> int:
    if len(fields) != 1 or not (fields[0].isascii() and fields[0].isdecimal()):
        raise DataError(f"{where} does not begin with the number of its rows, as CelebA's lists do.")
    return int(fields[0])


def _read_partition(tree: Tree) -> dict[str, str]:
    name = _find(tree, PARTITION)
    if name is None:
        return {}
    rows = _split_lines(tree.read_text(name), name)
    if name.lower().endswith(".csv"):
        rows = rows[1:]
    return {PurePosixPath(row[0]).stem: _SPLITS[row[1]] for _, row in rows if len(row) == 2 and row[1] in _SPLITS}

"""What ``dataset.json`` says of a packed data set's images, checked.

Ours hold a vector for each image and the emotions' names. Those of StyleGAN's ``dataset_tool.py`` may hold a
class number instead, and never names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.emotions import ALIASES, FER2013, FERPLUS
from training.data.errors import DataError

LABELS_FILE: Final = "dataset.json"

#: How far the sum of a label vector may be from 1, to allow for rounding in files that others wrote.
SUM_TOLERANCE: Final = 1e-3

#: More classes than any set of emotions; keeps one wrong number from asking for gigabytes of one-hot vectors.
_MOST_CLASSES: Final = 1000

#: More voters than any image has; keeps a damaged count from overflowing an int64.
_MOST_VOTES: Final = 1_000_000


class Labels(NamedTuple):
    """What ``dataset.json`` says of N images and E emotions."""

    vectors: NDArray[np.float32]  # [N, E], rows sum to 1; class numbers have become one-hot
    emotions: tuple[str, ...]  # the E names: FER-2013's order for 7 nameless classes, with contempt for 8
    source: dict[str, Any]  # what stands under "source", empty if nothing
    given: NDArray[np.int64] | None  # [N], the source's own class where the labels are others
    votes: NDArray[np.int64] | None  # [N, V], the counts of votes behind the labels
    vote_names: tuple[str, ...]  # the V names of the votes' columns, empty without votes


def parse_labels(path: Path, content: bytes, names: Sequence[str]) -> Labels:
    """Read the labels of the images ``names`` from the bytes of ``dataset.json``; ``path`` is for messages.

    Raises:
        DataError: the labels are missing, incomplete or not such labels.
    """
    where = f"{path}: {LABELS_FILE}"
    try:
        table = json.loads(content)
        by_name = dict(table["labels"] or ())  # dataset_tool.py writes null where a source has no labels
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{where} is not a table of labels ({type(error).__name__}: {error}).") from error
    if not by_name:
        raise DataError(f"{where} has no labels; make the data set from a source with emotions.")
    missing = next((name for name in names if name not in by_name), None)
    if missing is not None:
        raise DataError(f"{where} has no label for the image {missing}.")
    if len(by_name) != len(names):  # images lost on the way must not go unnoticed
        raise DataError(f"{where} has {len(by_name):,} labels, but the zip holds {len(names):,} images.")
    try:
        raw = np.asarray([by_name[name] for name in names])
    except ValueError as error:  # vectors of different lengths
        raise DataError(f"{where} has labels of different lengths.") from error
    if raw.dtype.kind not in "iuf" or raw.ndim not in (1, 2) or raw.size == 0:
        raise DataError(f"{where} must hold a class number or a vector of numbers for every image.")
    if not np.isfinite(raw).all() or raw.min() < 0:
        raise DataError(f"{where} holds a label that is negative or not finite.")
    emotions = _emotions(where, table.get("emotions"), _count_classes(where, raw), exactly=raw.ndim == 2)
    vectors = raw if raw.ndim == 2 else np.eye(len(emotions))[raw.astype(np.intp)]
    uneven = np.flatnonzero(np.abs(vectors.sum(axis=1) - 1) > SUM_TOLERANCE)
    if uneven.size:
        raise DataError(f"{where} gives the image {names[uneven[0]]} a label that does not sum to 1.")
    source = table.get("source")
    source = dict(source) if isinstance(source, dict) else {}
    order = [name for name, _ in table["labels"]]
    given = _given(where, table.get("given"), order, names, len(emotions))
    votes, vote_names = _votes(where, table.get("votes"), table.get("vote_names"), order, names)
    return Labels(vectors.astype(np.float32), emotions, source, given, votes, vote_names)


def _given(
    where: str, classes: object, order: list[str], names: Sequence[str], emotions: int
) -> NDArray[np.int64] | None:
    """Return the source's own classes in the order of ``names``; they are stored in the ``order`` of the labels."""
    if classes is None:
        return None
    if not isinstance(classes, list) or len(classes) != len(order):
        raise DataError(f'{where}: "given" must hold one class for each label.')
    if not all(type(item) is int and 0 <= item < emotions for item in classes):
        raise DataError(f'{where}: "given" must hold whole numbers from 0 to {emotions - 1}.')
    by_name = dict(zip(order, classes, strict=True))
    return np.array([by_name[name] for name in names], np.int64)


def _votes(
    where: str, counts: object, columns: object, order: list[str], names: Sequence[str]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the votes ``[N, V]`` in the order of ``names`` and the V names of their columns."""
    if counts is None and columns is None:
        return None, ()
    if not isinstance(columns, list) or not columns or not all(isinstance(name, str) and name for name in columns):
        raise DataError(f'{where}: "vote_names" must be a list with a name for each column of "votes".')
    if len(set(columns)) != len(columns):
        raise DataError(f'{where}: "vote_names" names one column twice.')
    if not isinstance(counts, list) or len(counts) != len(order):
        raise DataError(f'{where}: "votes" must hold one list of counts for each label.')
    if not all(isinstance(row, list) and len(row) == len(columns) for row in counts):
        raise DataError(f'{where}: "votes" must hold {len(columns)} counts for each label, as "vote_names" does.')
    if not all(type(count) is int and 0 <= count <= _MOST_VOTES for row in counts for count in row):
        raise DataError(f'{where}: "votes" must hold whole numbers from 0 to {_MOST_VOTES:,}.')
    by_name = dict(zip(order, counts, strict=True))
    return np.array([by_name[name] for name in names], np.int64), tuple(columns)


def _count_classes(where: str, raw: NDArray[Any]) -> int:
    """Return the length of the vectors, or one more than the largest class number."""
    if raw.ndim == 2:
        return int(raw.shape[1])
    if raw.dtype.kind == "f" or raw.max() >= _MOST_CLASSES:
        raise DataError(f"{where} holds a class that is no whole number below {_MOST_CLASSES}.")
    return int(raw.max()) + 1


def _emotions(where: str, named: object, classes: int, *, exactly: bool) -> tuple[str, ...]:
    """Return the names of the classes: as the file gives them, or the known ones for 7 and 8 classes."""
    if named is None:
        for known in (FER2013, FERPLUS):
            if len(known) == classes:
                return known
        raise DataError(f'{where} has {classes} classes without names: add a list "emotions" with their names.')
    if not isinstance(named, list) or not all(isinstance(name, str) and name for name in named):
        raise DataError(f'{where}: "emotions" must be a list of names.')
    named = [name.strip().lower() for name in named]
    named = [ALIASES.get(name, name) for name in named]
    if len(set(named)) != len(named):
        raise DataError(f'{where}: "emotions" names one emotion twice.')
    if len(named) < classes or (exactly and len(named) != classes):
        raise DataError(f"{where} has {classes} classes but {len(named)} names of emotions.")
    return tuple(named)

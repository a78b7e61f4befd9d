"""What ``dataset.json`` says of a packed data set's images, checked.

Ours hold a vector for each image and the emotions' names. Those of StyleGAN's ``dataset_tool.py`` may hold a
class number instead, and never names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import ALIASES, FER2013, FERPLUS
from training.data.errors import DataError

LABELS_FILE: Final = "dataset.json"

#: How far the sum of a label vector may be from 1, to allow for rounding in files that others wrote.
SUM_TOLERANCE: Final = 1e-3

#: More classes than any set of emotions; keeps one wrong number from asking for gigabytes of one-hot vectors.
_MOST_CLASSES: Final = 1000


def parse_labels(
    path: Path, content: bytes, names: Sequence[str]
) -> tuple[NDArray[np.float32], tuple[str, ...], dict[str, Any]]:
    """Read the labels of the images ``names`` from the bytes of ``dataset.json``; ``path`` is for messages.

    Returns:
        Labels float32 ``[N, E]`` whose rows sum to 1 (class numbers become one-hot), the ``E`` emotions
        (FER-2013's order for 7 nameless classes, with contempt for 8), and what stands under ``source``
        (empty if nothing).

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
    return vectors.astype(np.float32), emotions, dict(source) if isinstance(source, dict) else {}


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

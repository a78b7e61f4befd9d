"""Which part of a data set is meant: one set of names for every source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from training.data.errors import DataError

#: Splits and what they are called in folders, files and on the command line, in any case.
SPLITS: Final = {
    "training": ("training", "train", "train_set"),
    "validation": ("validation", "valid", "val", "val_set"),
    "test": ("test", "test_set"),
}


def split_of(name: str) -> str | None:
    """Return the split that a folder called ``name`` holds, or None."""
    key = name.strip().lower()
    return next((split for split, names in SPLITS.items() if key in names), None)


def parse_split(text: str, allowed: Sequence[str] = tuple(SPLITS)) -> str:
    """Return the one of ``allowed`` that ``text`` means. Raises DataError."""
    key = text.strip().lower()
    key = split_of(key) or key
    if key not in allowed:
        raise DataError(f"unknown split {text[:40]!r}; choose one of {', '.join(allowed)}.")
    return key

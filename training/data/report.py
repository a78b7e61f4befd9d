"""What came of preparing a source: the same report for every source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.data.errors import DataError

#: The most damage that still passes, as a part of the split's rows: a slip here and there, but no wrong file.
MAX_BAD: Final = 0.01


@dataclass(frozen=True, slots=True)
class BadRow:
    """A damaged row.

    ``row`` is a table's line as an editor shows it (from 1; the header is line 1), or a folder's image
    counted from 1 in sorted order, and then ``origin`` is that image's path in the source.
    """

    row: int
    reason: str
    origin: str | None = None

    def __str__(self) -> str:
        return f"{self.origin or f'line {self.row:,}'}: {self.reason}"


@dataclass(slots=True)
class PrepareReport:
    """Counts of one run of ``prepare``.

    ``rows`` of the split were seen: ``written`` + all of ``skipped`` + ``bad``. ``skipped`` maps a reason to
    the rows (numbered as in :class:`BadRow`) that were left out on purpose; ``bad`` lists the damaged ones.
    ``mass`` is the sum of the label vectors and ``counts`` the number of images whose largest entry it is,
    both by emotion (ties count for the first).
    """

    emotions: tuple[str, ...]
    resolution: int
    channels: int
    split: str
    rows: int = 0
    written: int = 0
    skipped: dict[str, list[int]] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    mass: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mass = dict.fromkeys(self.emotions, 0.0)
        self.counts = Counter(dict.fromkeys(self.emotions, 0))

    @property
    def skipped_total(self) -> int:
        """How many rows were left out on purpose."""
        return sum(len(rows) for rows in self.skipped.values())

    def add_skipped(self, row: int, reason: str) -> None:
        """Count row ``row`` as left out on purpose."""
        self.rows += 1
        self.skipped.setdefault(reason, []).append(row)

    def add_bad(self, row: int, reason: str, origin: str | None = None) -> None:
        """Count row ``row`` as damaged."""
        self.rows += 1
        self.bad.append(BadRow(row, reason, origin))

    def add_written(self, label: list[float]) -> None:
        """Count one written image with its label vector ``[E]``."""
        self.rows += 1
        self.written += 1
        self.counts[self.emotions[label.index(max(label))]] += 1
        for name, value in zip(self.emotions, label, strict=True):
            self.mass[name] += value

    def check(self, source: Path) -> None:
        """Refuse a source without rows of the split, with more than 1 % damaged ones, or with nothing to
        write.

        Raises:
            DataError: as said; its text names the first damaged row.
        """
        if self.rows == 0:
            raise DataError(f"{source} has no rows of the split {self.split!r}.")
        if len(self.bad) > MAX_BAD * self.rows:
            raise DataError(
                f"{len(self.bad):,} of {self.rows:,} rows of {source} are damaged, more than {MAX_BAD:.0%}, "
                f"so nothing was written; the first is {self.bad[0]}."
            )
        if self.written == 0:
            raise DataError(f"every row of the split {self.split!r} in {source} was left out, so nothing was written.")

    def summary(self) -> dict[str, object]:
        """Return the counts for ``dataset.json``: JSON values, the same for the same source."""
        skipped = {reason: len(rows) for reason, rows in sorted(self.skipped.items())}
        return {"split": self.split, "rows": self.rows, "skipped": skipped, "bad": len(self.bad)}

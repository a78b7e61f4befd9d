"""FER-2013 (Goodfellow et al. 2013): 35,887 grey faces of 48x48 pixels with seven emotions.

Read from either of Kaggle's tables, ``fer2013.csv`` (emotion, pixels, Usage) and ``icml_face_data.csv`` (the
same columns in another order, with blanks in their names), or from the folder tree
``train|test/<emotion>/*.jpg`` that is handed on as well. With FER+ votes a label is a distribution over eight
emotions instead of one of seven.

Rows: an image's name in the zip has its row in the table, counted from 0 after the header, which is also
    FER+'s count;
messages name lines as an editor shows them, which is that row plus 2 (blank lines have no row).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import FER2013, FERPLUS
from training.data.errors import DataError
from training.data.fer2013_tree import add_tree
from training.data.ferplus import VOTES, Opinion, read_ferplus
from training.data.packed import DatasetWriter
from training.data.report import PrepareReport
from training.data.tables import Table

RESOLUTION: Final = 48

#: What ``--split`` may say, and the values of the column Usage that it stands for.
SPLITS: Final = {
    "training": ("training",),
    "publictest": ("publictest",),
    "privatetest": ("privatetest",),
    "test": ("publictest", "privatetest"),
}

_USAGES: Final = frozenset(usage for usages in SPLITS.values() for usage in usages)
_SPLIT_ALIASES: Final = {"train": "training"}
_PIXELS: Final = RESOLUTION * RESOLUTION
#: Every way to write a grey level, looked up instead of parsed: strict, and three times faster.
_LEVELS: Final = {str(level): level for level in range(256)}
_REPORT_EVERY: Final = 256

Progress = Callable[[int, int], None]


def prepare_fer2013(
    source: Path,
    out: Path,
    *,
    ferplus: Path | None = None,
    split: str = "training",
    progress: Progress | None = None,
) -> PrepareReport:
    """Turn FER-2013 as downloaded into a packed data set of one split.

    Args:
        source: the CSV (plain, .xz, .gz, .zip or .tar.gz), or the folder that holds ``train`` and ``test``.
        out: the zip to write; replaced only when everything went well.
        ferplus: ``fer2013new.csv``, joined by row; needs the CSV, because folders have lost the rows.
        split: ``training`` (or ``train``), ``publictest``, ``privatetest`` or ``test`` (both); any case.
            Folders know only ``training`` and ``test``.
        progress: called with (done, total) now and then: bytes of a CSV, images of a folder.

    Raises:
        DataError: anything the user must put right, for example more than 1 % damaged rows, no row of the
            split, or votes that do not belong to these rows. No output is left then.
    """
    source, out = Path(source), Path(out)
    split = parse_split(split)
    for given in (source, ferplus):
        with suppress(OSError):  # where one of them does not exist, they are not the same
            if given is not None and os.path.samefile(given, out):
                raise DataError(f"{out} is the source itself; name another file to write.")
    is_tree = os.path.isdir(source)
    if ferplus is not None and is_tree:
        raise DataError("FER+ votes belong to the rows of fer2013.csv, and a folder tree has none: give the CSV.")
    emotions = FERPLUS if ferplus is not None else FER2013
    report = PrepareReport(emotions, RESOLUTION, 1, split)
    meta: dict[str, Any] = {"name": "fer2013", "layout": "folders" if is_tree else "table"}
    vote_names: tuple[str, ...] = ()
    opinions = None
    if ferplus is not None:
        vote_names = VOTES
        opinions, meta["ferplus_sha256"] = read_ferplus(Path(ferplus))
    with DatasetWriter(
        out, emotions=emotions, resolution=RESOLUTION, channels=1, vote_names=vote_names, meta=meta
    ) as writer:
        if is_tree:
            add_tree(source, writer, report, progress or _silent)
        else:
            writer.meta["csv_sha256"] = _add_table(source, opinions, writer, report, progress or _silent)
        report.check(source)
        writer.meta.update(report.summary())
    return report


def parse_split(text: str) -> str:
    """Return the key of ``SPLITS`` that ``text`` means, in any case. Raises DataError."""
    key = text.strip().lower()
    key = _SPLIT_ALIASES.get(key, key)
    if key not in SPLITS:
        raise DataError(f"unknown split {text[:40]!r}; choose one of {', '.join(SPLITS)}.")
    return key


def _add_table(
    source: Path,
    opinions: list[Opinion] | None,
    writer: DatasetWriter,
    report: PrepareReport,
    progress: Progress,
) -> str:
    """Write and count the table's rows of ``report.split``; return the SHA-256 of its text."""
    wanted = SPLITS[report.split]
    row = -1
    with Table(source, ("emotion", "pixels", "Usage"), preferred=("fer2013.csv", "icml_face_data.csv")) as table:
        for row, (line, fields) in enumerate(table):
            if row % _REPORT_EVERY == 0:
                progress(table.position, table.size)
            if opinions is not None and row >= len(opinions):
                raise DataError(f"FER+ has votes for {len(opinions):,} rows, but {source} goes on at line {line:,}.")
            # A row without a known Usage counts against every split: nobody can say which one it is from.
            if fields is None:
                report.add_bad(line, "not a row with the columns of the first line")
                continue
            usage = fields[2].strip().lower()
            if usage not in _USAGES:
                report.add_bad(line, f"the Usage {fields[2].strip()[:20]!r} is unknown")
                continue
            opinion = opinions[row] if opinions is not None else None
            if opinion is not None and opinion.usage.lower() != usage:
                raise DataError(
                    f"line {line:,} of {source} is of {fields[2].strip()!r}, but FER+ has it as "
                    f"{opinion.usage!r}: the two files do not belong together."
                )
            if usage not in wanted:
                continue
            try:
                emotion = _parse_emotion(fields[0])
                pixels = _parse_pixels(fields[1])
            except ValueError as error:
                report.add_bad(line, str(error))
                continue
            if opinion is None:
                label = [float(index == emotion) for index in range(len(FER2013))]
                writer.add(row, pixels, label)
            elif opinion.label is None:
                report.add_skipped(line, opinion.reason)
                continue
            else:
                label = opinion.label
                writer.add(row, pixels, label, given=emotion, votes=opinion.votes)
            report.add_written(label)
        progress(table.size, table.size)
        if opinions is not None and row + 1 < len(opinions):
            raise DataError(
                f"{source} ends after {row + 1:,} rows, but FER+ has votes for {len(opinions):,}: "
                "the two files do not belong together, or the table is cut off."
            )
        return table.sha256


def _silent(_done: int, _total: int) -> None:
    """Tell nobody."""


def _parse_emotion(text: str) -> int:
    text = text.strip()
    if len(text) != 1 or text not in "0123456":
        raise ValueError(f"emotion {text[:20]!r} is not one of 0 to 6")
    return int(text)


def _parse_pixels(text: str) -> NDArray[np.uint8]:
    """Return uint8 ``[48, 48]``; ValueError says what is wrong with the text."""
    tokens = text.split()
    if len(tokens) != _PIXELS:
        raise ValueError(f"{len(tokens):,} pixels instead of {_PIXELS:,}")
    try:
        levels = bytes(map(_LEVELS.__getitem__, tokens))
    except KeyError as error:
        raise ValueError(f"pixel value {str(error.args[0])[:20]!r} is not one of 0 to 255") from None
    return np.frombuffer(levels, np.uint8).reshape(RESOLUTION, RESOLUTION)

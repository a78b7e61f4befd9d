"""FER+ (Barsoum et al. 2016, arXiv:1608.01041): ten crowd votes for every row of FER-2013.

From votes to a label, following the authors' published code (``ferplus.py``, mode "probability"): a single vote
counts as an outlier and is dropped; rows whose most frequent answer is "unknown" or "no face" (NF) are left out;
of the rest those two are dropped and the emotions' votes are divided by their sum.

It differs in one point: that code also keeps only the strongest few emotions of a row, and discards rows in which
these are too many or hold no more than half of the votes. Here the whole distribution is kept, and such rows too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model.emotions import FERPLUS, canonical_emotion
from training.data.errors import DataError
from training.data.tables import Table

#: The vote columns in the file's order; the last two are no emotions.
VOTES: Final = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip

NO_FACE: Final = "FER+: no face"
UNCLEAR: Final = "FER+: most votes say unknown or no face"
NOTHING_LEFT: Final = "FER+: no emotion has more than one vote"

_SLOTS: Final = tuple(FERPLUS.index(canonical_emotion(name, FERPLUS)) for name in VOTES[:-2])


@dataclass(frozen=True, slots=True)
class Opinion:
    """What FER+ says of a row: ten votes as in ``VOTES``, and a label ``[8]`` over ``FERPLUS`` or why it has none."""

    usage: str
    votes: tuple[int, ...]
    label: list[float] | None
    reason: str = ""


def label_from_votes(votes: Sequence[int]) -> tuple[list[float] | None, str]:
    """Turn ten votes, as in ``VOTES``, into a label ``[8]`` over ``FERPLUS``, or None and why."""
    counted = [count if count > 1 else 0 for count in votes]
    emotions = counted[:-2]
    if max(counted[-2:]) > max(emotions):
        return None, UNCLEAR
    total = sum(emotions)
    if total == 0:
        return None, NOTHING_LEFT
    label = [0.0] * len(FERPLUS)
    for slot, count in zip(_SLOTS, emotions, strict=True):
        label[slot] = count / total
    return label, ""


def read_ferplus(path: Path) -> tuple[list[Opinion], str]:
    """Read ``fer2013new.csv``: one opinion a row, in order, and the file's SHA-256 (of its text,
    hexadecimal).

    Raises:
        DataError: the file cannot be read, or one of its rows is damaged; its text names the line.
    """
    opinions: list[Opinion] = []
    with Table(path, ("Usage", "Image name", *VOTES), preferred=("fer2013new.csv",)) as table:
        for line, fields in table:
            if fields is None:
                raise DataError(f"{path}: line {line} is not a row of FER+ votes; download the file again.")
            usage, name, *texts = (field.strip() for field in fields)
            if not all(text.isdecimal() and text.isascii() for text in texts):
                raise DataError(f"{path}: a vote in line {line} is not a whole number of at least 0.")
            votes = tuple(int(text) for text in texts)
            label, reason = label_from_votes(votes) if name else (None, NO_FACE)
            opinions.append(Opinion(usage, votes, label, reason))
        if not opinions:
            raise DataError(f"{path} holds no votes.")
        return opinions, table.sha256

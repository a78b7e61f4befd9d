"""From crowd votes to a label: what counts, what is left out, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.emotions import FERPLUS
from tests.training.data.fer_sources import VOTE_HEADER, write_votes
from training.data.errors import DataError
from training.data.ferplus import NO_FACE, NOTHING_LEFT, UNCLEAR, VOTES, label_from_votes, read_ferplus

# The file's order: neutral happiness surprise sadness anger disgust fear contempt unknown NF


def named(label: list[float]) -> dict[str, float]:
    return {name: value for name, value in zip(FERPLUS, label, strict=True) if value}


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([4, 0, 0, 1, 3, 2, 0, 0, 0, 0], {"neutral": 4 / 9, "angry": 3 / 9, "disgust": 2 / 9}),
        ([6, 0, 1, 1, 0, 0, 0, 0, 2, 0], {"neutral": 1.0}),
        ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], {"happy": 1.0}),
        ([0, 0, 5, 0, 0, 0, 5, 0, 0, 0], {"surprise": 0.5, "fear": 0.5}),
        ([0, 0, 0, 2, 0, 0, 0, 8, 0, 0], {"sad": 0.2, "contempt": 0.8}),
        # "Unknown" is as frequent as an emotion, not more so: the emotion stands.
        ([0, 4, 0, 0, 0, 0, 0, 1, 4, 1], {"happy": 1.0}),
    ],
)
def test_votes_become_a_distribution(votes: list[int], expected: dict[str, float]) -> None:
    label, reason = label_from_votes(votes)
    assert label is not None
    assert named(label) == pytest.approx(expected)
    assert reason == ""


@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        ([2, 0, 0, 2, 0, 0, 0, 0, 6, 0], UNCLEAR),
        ([3, 0, 0, 3, 0, 0, 0, 0, 0, 4], UNCLEAR),
        ([1, 1, 1, 1, 1, 1, 1, 1, 2, 0], UNCLEAR),
        ([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], NOTHING_LEFT),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], NOTHING_LEFT),
    ],
)
def test_rows_without_a_clear_emotion_are_left_out(votes: list[int], reason: str) -> None:
    assert label_from_votes(votes) == (None, reason)


@settings(derandomize=True, database=None)
@given(st.lists(st.integers(0, 10), min_size=10, max_size=10))
def test_labels_sum_to_one_and_keep_the_order_of_the_votes(votes: list[int]) -> None:
    label, reason = label_from_votes(votes)
    if label is None:
        assert reason in (UNCLEAR, NOTHING_LEFT)
        return
    assert sum(label) == pytest.approx(1)
    aliases = {"happiness": "happy", "sadness": "sad", "anger": "angry"}
    shares = [label[FERPLUS.index(aliases.get(name, name))] for name in VOTES[:-2]]
    for count, share in zip(votes, shares, strict=False):
        assert (share > 0) == (count > 1)
    assert max(votes[8:]) <= max(votes[:8]) or max(votes[8:]) == 1


def line(name: str = "fer0000000.png", votes: str = "0,10,0,0,0,0,0,0,0,0", usage: str = "Training") -> list[str]:
    return [usage, name, *votes.split(",")]


def test_file_is_read_in_order(tmp_path: Path) -> None:
    path = write_votes(
        tmp_path / "fer2013new.csv",
        [line(), line(name=""), line(votes="0,0,0,0,0,0,0,0,10,0", usage="PublicTest")],
    )
    opinions, sha256 = read_ferplus(path)
    assert [(o.usage, o.reason) for o in opinions] == [
        ("Training", ""),
        ("Training", NO_FACE),
        ("PublicTest", UNCLEAR),
    ]
    assert opinions[0].label is not None
    assert named(opinions[0].label) == {"happy": 1.0}
    assert [o.label for o in opinions[1:]] == [None, None]
    assert opinions[1].votes == (0, 10, 0, 0, 0, 0, 0, 0, 0, 0)
    assert re.fullmatch("[0-9a-f]{64}", sha256)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (line(votes="0,ten,0,0,0,0,0,0,0,0"), "vote in line 3"),
        (line(votes="0,-1,0,0,0,0,0,0,0,0"), "vote in line 3"),
        (line(votes="0,1.5,0,0,0,0,0,0,0,0"), "vote in line 3"),
        (line(votes="0,,0,0,0,0,0,0,0,0"), "vote in line 3"),
        (line(votes="0,1"), "line 3 is not a row"),
    ],
)
def test_damaged_votes_name_their_line(tmp_path: Path, bad: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_ferplus(write_votes(tmp_path / "votes.csv", [line(), bad, line()]))


def test_files_without_votes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no votes"):
        read_ferplus(write_votes(tmp_path / "votes.csv", []))
    (tmp_path / "other.csv").write_text(",".join(VOTE_HEADER[:-1]) + "\n")
    with pytest.raises(DataError, match="no column 'NF'"):
        read_ferplus(tmp_path / "other.csv")
    with pytest.raises(DataError, match="does not exist"):
        read_ferplus(tmp_path / "none.csv")

"""Raw votes in a packed data set: read as they were written, and damage is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.data.errors import DataError
from training.data.ferplus import VOTES
from training.data.labels import parse_labels
from training.data.packed import DatasetWriter, load_packed


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example overwrites the files of the one before
)
@given(arrays(np.int64, (4, 10), elements=st.integers(0, 10)))
def test_votes_travel_beside_the_labels(tmp_path: Path, counts: np.ndarray) -> None:
    out, plain = tmp_path / "votes.zip", tmp_path / "plain.zip"
    for path, names in ((out, VOTES), (plain, ())):
        with DatasetWriter(path, emotions=("a", "b"), resolution=4, channels=1, vote_names=names) as writer:
            for row, votes in enumerate(counts.tolist()):
                writer.add(row, np.zeros((4, 4), np.uint8), [0.5, 0.5], votes=votes if names else ())
    data = load_packed(out)
    assert data.votes is not None
    assert data.votes.dtype == np.int64
    np.testing.assert_array_equal(data.votes, counts)
    assert data.vote_names == VOTES
    without = load_packed(plain)
    assert (without.votes, without.vote_names) == (None, ())
    np.testing.assert_array_equal(without.labels, data.labels)


@pytest.mark.parametrize("votes", [(), (1,), (1, 2, 3), (1, -1)])
def test_writer_refuses_votes_that_do_not_fit(tmp_path: Path, votes: tuple[int, ...]) -> None:
    names = ("x", "y")
    with DatasetWriter(tmp_path / "x.zip", emotions=("a", "b"), resolution=4, channels=1, vote_names=names) as writer:
        writer.add(0, np.zeros((4, 4), np.uint8), [0.5, 0.5], votes=(0, 3))
        with pytest.raises(ValueError, match="row 1: expected 2 counts of votes"):
            writer.add(1, np.zeros((4, 4), np.uint8), [0.5, 0.5], votes=votes)


@pytest.mark.parametrize(
    ("votes", "vote_names", "message"),
    [
        ([[1, 2], [3, 4]], None, '"vote_names" must be a list'),
        ([[1, 2], [3, 4]], [], '"vote_names" must be a list'),
        ([[1, 2], [3, 4]], "xy", '"vote_names" must be a list'),
        ([[1, 2], [3, 4]], ["x", 1], '"vote_names" must be a list'),
        ([[1, 2], [3, 4]], ["x", "x"], "names one column twice"),
        (None, ["x", "y"], "one list of counts for each label"),
        ([[1, 2]], ["x", "y"], "one list of counts for each label"),
        ([[1, 2], [3]], ["x", "y"], "2 counts for each label"),
        ([[1, 2], 3], ["x", "y"], "2 counts for each label"),
        ([[1, 2], [3, -4]], ["x", "y"], "whole numbers from 0 to 1,000,000"),
        ([[1, 2], [3, 4.5]], ["x", "y"], "whole numbers from 0"),
        ([[1, 2], [3, True]], ["x", "y"], "whole numbers from 0"),
        ([[1, 2], [3, "4"]], ["x", "y"], "whole numbers from 0"),
        ([[1, 2], [3, 10**30]], ["x", "y"], "whole numbers from 0"),
    ],
)
def test_damaged_votes_are_refused(tmp_path: Path, votes: Any, vote_names: Any, message: str) -> None:
    table = {"labels": [["b.png", [1, 0]], ["a.png", [0, 1]]], "emotions": ["x", "y"]}
    content = json.dumps({**table, "votes": votes, "vote_names": vote_names}).encode()
    with pytest.raises(DataError, match=message) as caught:
        parse_labels(tmp_path / "x.zip", content, ["a.png", "b.png"])
    assert "\n" not in str(caught.value)
    whole = json.dumps({**table, "votes": [[1, 2], [3, 4]], "vote_names": ["x", "y"]}).encode()
    kept = parse_labels(tmp_path / "x.zip", whole, ["a.png", "b.png"]).votes
    assert kept is not None
    assert kept.tolist() == [[3, 4], [1, 2]]  # in the order of the names, not of the file

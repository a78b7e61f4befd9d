"""From raw votes to labels and sampling weights for training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.emotions import FER2013, FERPLUS
from training.data.errors import DataError
from training.data.ferplus import VOTES, label_from_votes
from training.data.packed import PackedDataset
from training.vote_labels import sampling_weights, training_labels

quick = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def dataset(votes: list[list[int]], own: list[int] | None) -> PackedDataset:
    """One-pixel images with these votes (as in VOTES) and FER-2013's classes ``own``."""
    labels = [label_from_votes(row)[0] or [1 / 8] * 8 for row in votes]
    return PackedDataset(
        images=np.zeros((len(votes), 1, 1, 1), np.uint8),
        labels=np.array(labels, np.float32),
        emotions=FERPLUS,
        names=[str(row) for row in range(len(votes))],
        meta={},
        sha256="",
        given=None if own is None else np.array(own),
        votes=np.array(votes),
        vote_names=VOTES,
    )


def only(votes: list[int], own: str | None) -> tuple[dict[str, float], bool]:
    """The label of one image, without zeros, and whether it may be shown."""
    labels, shown = training_labels(dataset([votes], None if own is None else [FERPLUS.index(own)]))
    return {name: float(share) for name, share in zip(FERPLUS, labels[0], strict=True) if share}, bool(shown[0])


# The votes' order: neutral happiness surprise sadness anger disgust fear contempt unknown NF
@pytest.mark.parametrize(
    ("votes", "own", "expected"),
    [
        ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], "happy", {"happy": 1.0}),
        ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], "sad", {"happy": 1.0}),
        # FER-2013's label counts as two more voters where a voter agrees.
        ([4, 0, 0, 4, 0, 0, 0, 0, 2, 0], "sad", {"neutral": 4 / 10, "sad": 6 / 10}),
        # A lone voter is kept where FER-2013's label agrees, and dropped elsewhere.
        ([8, 0, 0, 1, 0, 1, 0, 0, 0, 0], "disgust", {"neutral": 8 / 11, "disgust": 3 / 11}),
        ([8, 0, 0, 1, 0, 1, 0, 0, 0, 0], "fear", {"neutral": 1.0}),
        ([8, 0, 0, 1, 0, 1, 0, 0, 0, 0], None, {"neutral": 1.0}),
        # "Unknown" is as frequent as an emotion, not more so: the image is shown.
        ([0, 4, 0, 1, 0, 0, 0, 0, 4, 1], "surprise", {"happy": 1.0}),
    ],
)
def test_votes_and_the_source_s_label_become_a_distribution(
    votes: list[int], own: str | None, expected: dict[str, float]
) -> None:
    label, shown = only(votes, own)
    assert label == pytest.approx(expected)
    assert shown


@pytest.mark.parametrize(
    "votes",
    [
        [0, 5, 0, 0, 0, 0, 0, 0, 0, 5],  # five of ten see no face
        [2, 3, 0, 0, 0, 0, 0, 0, 1, 4],  # "no face" has more votes than happy, which FER-2013's label must not outweigh
        [2, 3, 0, 0, 0, 0, 0, 0, 5, 0],
        [1, 0, 1, 1, 1, 1, 1, 1, 1, 1],  # nothing is left
    ],
)
def test_images_that_voters_cannot_tell_are_not_shown(votes: list[int]) -> None:
    label, shown = only(votes, "happy")
    assert not shown
    assert sum(label.values()) == pytest.approx(1)


counts = arrays(np.int64, (6, 10), elements=st.integers(0, 10))
classes = st.lists(st.integers(0, 6), min_size=6, max_size=6)


@quick
@given(counts, st.none() | classes)
def test_labels_sum_to_one_and_name_only_what_was_voted_for(votes: np.ndarray, own: list[int] | None) -> None:
    data = dataset(votes.tolist(), own)
    labels, shown = training_labels(data)
    assert labels.dtype == np.float32
    assert shown.dtype == np.bool_
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    columns = [("angry", 4), ("disgust", 5), ("fear", 6), ("happy", 1), ("sad", 3), ("surprise", 2), ("neutral", 0)]
    for name, column in [*columns, ("contempt", 7)]:
        assert not (labels[shown, FERPLUS.index(name)] > 0)[votes[shown, column] == 0].any()


@quick
@given(counts, classes, st.integers(0, 7))
def test_one_vote_more_never_lowers_an_emotion(votes: np.ndarray, own: list[int], column: int) -> None:
    more = votes.copy()
    more[:, column] += 1
    before, shown = training_labels(dataset(votes.tolist(), own))
    after, still_shown = training_labels(dataset(more.tolist(), own))
    emotion = int(training_labels(dataset([[2 * (n == column) for n in range(10)]], None))[0][0].argmax())
    assert (after[shown, emotion] >= before[shown, emotion] - 1e-6).all()
    assert still_shown[shown].all()


@quick
@given(counts, classes, st.permutations(range(10)))
def test_the_order_of_the_columns_is_that_of_their_names(votes: np.ndarray, own: list[int], order: list[int]) -> None:
    data = dataset(votes.tolist(), own)
    swapped = replace(data, votes=votes[:, order], vote_names=tuple(VOTES[column] for column in order))
    for one, other in zip(training_labels(data), training_labels(swapped), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_votes_the_labels_stay_as_they_are() -> None:
    data = replace(dataset([[2, 0, 0, 0, 0, 0, 0, 0, 0, 8]], [6]), votes=None, vote_names=())
    labels, shown = training_labels(data)
    np.testing.assert_array_equal(labels, data.labels)
    assert shown.tolist() == [True]


def test_votes_for_something_else_are_refused() -> None:
    data = replace(dataset([[10, 0, 0, 0, 0, 0, 0, 0, 0, 0]], [6]), vote_names=("bored", *VOTES[1:]))
    with pytest.raises(DataError, match=r"'bored' of the votes is not one of the data's emotions\.$"):
        training_labels(data)


def test_weights_follow_their_formula() -> None:
    labels = np.array([[1, 0], [0.75, 0.25], [0.5, 0.5], [1, 0], [0, 1]], np.float32)
    expected = np.array([1, 0.75**2, 0.5**2, 1, 2]) / (1 + 0.75**2 + 0.5**2 + 1 + 2)  # 4 rows against 1: 4 ** 0.5 = 2
    np.testing.assert_allclose(sampling_weights(labels, rarity=0.5, agreement=2), expected)
    np.testing.assert_allclose(sampling_weights(labels, rarity=0, agreement=0), 1 / 5)


@quick
@given(arrays(np.int64, (9, 7), elements=st.integers(0, 10)), st.floats(0, 2), st.floats(0, 4))
def test_weights_sum_to_one_and_grow_with_agreement(votes: np.ndarray, rarity: float, agreement: float) -> None:
    assume((votes.sum(axis=1) > 0).all())
    labels = (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)
    weights = sampling_weights(labels, rarity, agreement)
    assert weights.dtype == np.float64
    assert weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    for emotion in range(len(FER2013)):
        same = labels.argmax(axis=1) == emotion
        order = np.argsort(labels[same].max(axis=1))
        assert (np.diff(weights[same][order]) >= -1e-12).all()

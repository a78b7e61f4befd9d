"""AUC, identity, diversity and the answer to intensity."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import auc, diversity, equal_error_rate, identity_auc, monotonic

FEW = st.lists(st.integers(-5, 5), min_size=1, max_size=25)


@given(FEW, FEW)
@settings(max_examples=40, deadline=None)
def test_auc_is_the_probability_that_it_is(positive, negative):
    x, y = np.array(positive), np.array(negative)
    above = x[:, None] > y
    level = x[:, None] == y
    expected = above.mean() + level.mean() / 2
    assert auc(x, y) == pytest.approx(expected)
    assert auc(y, x) == pytest.approx(1 - expected)
    assert auc(np.exp(x), np.exp(y)) == pytest.approx(expected)


@given(FEW, FEW)
@settings(max_examples=25, deadline=None)
def test_scipy_and_scikit_learn_say_the_same(positive, negative):
    stats, sklearn = pytest.importorskip("scipy.stats"), pytest.importorskip("sklearn.metrics")
    got = auc(np.array(positive), np.array(negative))
    u = stats.mannwhitneyu(positive, negative).statistic
    assert got == pytest.approx(u / (len(positive) * len(negative)))
    labels = [1] * len(positive) + [0] * len(negative)
    assert got == pytest.approx(sklearn.roc_auc_score(labels, positive + negative))


def test_the_equal_error_rate():
    assert equal_error_rate(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 0
    assert equal_error_rate(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1
    assert equal_error_rate(np.array([1, 2, 3, 10.0]), np.array([2.5, 11, 12, 13])) == 0.25
    rng = np.random.default_rng(0)
    gap = equal_error_rate(rng.normal(size=20000), rng.normal(size=20000) + 2)
    assert gap == pytest.approx(0.1587, abs=0.01)  # both tails beyond the middle, one standard deviation away


def _people(same: float, emotion: float, seeds: int = 30, emotions: int = 7) -> np.ndarray:
    rng = np.random.default_rng(0)
    who, what = rng.normal(size=(seeds, 1, 16)), rng.normal(size=(1, emotions, 16))
    return same * who + emotion * what + rng.normal(size=(seeds, emotions, 16))


def test_identity_is_seen_when_it_is_there_and_not_when_it_is_not():
    assert identity_auc(_people(10, 0))["auc"] > 0.999
    assert identity_auc(_people(0, 0))["auc"] == pytest.approx(0.5, abs=0.02)
    some = identity_auc(_people(1, 0))
    assert 0.6 < some["auc"] < 0.99
    assert some["same_mean"] < some["different_mean"]
    json.dumps(some, allow_nan=False)


def test_emotion_that_moves_faces_more_than_people_do_counts_against_identity():
    loud = identity_auc(_people(0.5, 3))
    assert loud["auc"] < 0.1  # two people with one emotion are nearer than one person with two
    assert loud["auc_across"] > 0.5  # with emotion on both sides, the person is left
    quiet = identity_auc(_people(0.5, 0))
    assert quiet["auc"] == pytest.approx(quiet["auc_across"], abs=0.03)


def test_identity_compares_the_pairs_that_it_says():
    points = np.array([[[0.0], [1.0]], [[10.0], [14.0]], [[30.0], [39.0]]])  # three seeds, two emotions
    got = identity_auc(points)
    assert got["same_mean"] == pytest.approx((1 + 4 + 9) / 3)
    assert got["different_mean"] == pytest.approx((10 + 30 + 20 + 13 + 38 + 25) / 6)
    assert got["across_mean"] == pytest.approx((14 + 9 + 39 + 29 + 29 + 16) / 6)
    assert got["auc"] == 1.0


def test_some_of_many_pairs_say_nearly_the_same_and_always_the_same():
    people = _people(1, 1)
    all_pairs, some = identity_auc(people), identity_auc(people, pairs=500)
    assert some == identity_auc(people, pairs=500)
    assert some != all_pairs
    assert some["auc"] == pytest.approx(all_pairs["auc"], abs=0.06)


def test_identity_does_not_depend_on_the_order_of_seeds_or_emotions_or_on_turning():
    people = _people(1, 1)
    expected = identity_auc(people)
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    moved = people[rng.permutation(30)][:, rng.permutation(7)] @ turn + 5
    assert identity_auc(moved) == pytest.approx(expected)


@pytest.mark.parametrize(("shape", "known"), [((1, 7, 3), set()), ((5, 1, 3), {"different_mean"})])
def test_without_pairs_identity_is_nan(shape, known):
    got = identity_auc(np.random.default_rng(0).normal(size=shape))
    assert {"auc", "auc_across", "equal_error_rate"} <= {key for key, value in got.items() if math.isnan(value)}
    assert known <= {key for key, value in got.items() if not math.isnan(value)}


def test_diversity_is_the_mean_distance_of_pairs():
    points = np.random.default_rng(0).normal(size=(40, 6))
    first, second = np.triu_indices(40, 1)
    expected = np.linalg.norm(points[first] - points[second], axis=1).mean()
    assert diversity(points) == pytest.approx(expected)
    assert diversity(3 * points[::-1] + 7) == pytest.approx(3 * expected)
    assert diversity(points, pairs=300) == pytest.approx(expected, rel=0.1)
    assert diversity(points, pairs=300) == diversity(points, pairs=300) != diversity(points)
    assert diversity(np.ones((5, 2))) == 0
    assert math.isnan(diversity(points[:1]))


def test_an_emotion_that_grows_with_its_intensity():
    growing = np.array([[0.1, 0.2, 0.6, 0.9], [0.0, 0.5, 0.7, 0.7]])
    got = monotonic(growing)
    assert got["curve"] == pytest.approx([0.05, 0.35, 0.65, 0.8])
    assert got["rising"] == 1
    assert got["spearman"] == pytest.approx((1 + 9.5 / math.sqrt(10 * 9.0) * 1.0) / 2, abs=0.03)
    assert monotonic(-growing)["spearman"] == -got["spearman"]
    assert monotonic(np.ones((3, 5)))["spearman"] == 0  # no answer at all
    assert monotonic(np.array([[0.1, 0.09, 0.3]]))["rising"] == 0.5
    assert monotonic(np.array([[0.1, 0.09, 0.3]]), tolerance=0.02)["rising"] == 1
    json.dumps(got, allow_nan=False)
    with pytest.raises(ValueError, match="two intensities"):
        monotonic(np.ones((4, 1)))


@given(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_rank_correlation_is_that_of_scipy(scores):
    stats = pytest.importorskip("scipy.stats")
    told = [stats.spearmanr(range(5), row).statistic if len(set(row)) > 1 else 0.0 for row in scores]
    assert monotonic(np.array(scores))["spearman"] == pytest.approx(np.mean(told))

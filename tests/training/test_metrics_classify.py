"""Confusion, accuracy, F1 and confidence intervals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import bootstrap_interval, classification, confusion

TRUE = np.array([0, 0, 0, 0, 1, 1, 3, 3])
SAID = np.array([0, 0, 1, 3, 1, 0, 3, 3])


def test_by_hand():
    assert confusion(TRUE, SAID, 4).tolist() == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]]
    scores = classification(TRUE, SAID, 4)
    assert scores["accuracy"] == 5 / 8
    assert scores["recall"] == [0.5, 0.5, 0.0, 1.0]
    assert scores["balanced_accuracy"] == pytest.approx(2 / 3)  # class 2 does not occur
    assert scores["f1"] == pytest.approx([4 / 7, 0.5, 0, 0.8])
    assert scores["macro_f1"] == pytest.approx((4 / 7 + 0.5 + 0.8) / 3)
    assert scores["count"] == 8
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


ANSWERS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


@given(ANSWERS, st.permutations(range(5)))
@settings(max_examples=12, deadline=None)
def test_names_and_order_of_the_classes_do_not_matter(answers, names):
    true, said = np.array(answers).T
    scores, renamed = classification(true, said, 5), classification(np.array(names)[true], np.array(names)[said], 5)
    assert renamed["balanced_accuracy"] == pytest.approx(scores["balanced_accuracy"])
    assert [renamed["f1"][names[k]] for k in range(5)] == scores["f1"]
    assert confusion(said, true, 5).T.tolist() == scores["confusion"]
    assert sum(map(sum, scores["confusion"])) == len(answers)
    low, high = scores["interval"]
    assert low <= scores["accuracy"] <= high


@given(ANSWERS)
@settings(max_examples=12, deadline=None)
def test_scikit_learn_says_the_same(answers):
    sklearn = pytest.importorskip("sklearn.metrics")
    true, said = np.array(answers).T
    scores = classification(true, said, 5)
    assert scores["confusion"] == sklearn.confusion_matrix(true, said, labels=range(5)).tolist()
    assert scores["f1"] == pytest.approx(
        sklearn.f1_score(true, said, labels=range(5), average=None, zero_division=0).tolist()
    )
    assert scores["macro_f1"] == pytest.approx(sklearn.f1_score(true, said, average="macro"))
    recalls = sklearn.recall_score(true, said, labels=np.unique(true), average=None)
    assert scores["balanced_accuracy"] == pytest.approx(recalls.mean())


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="outside"):
        confusion(TRUE, SAID, 3)
    with pytest.raises(ValueError, match="outside"):
        confusion(np.array([-1]), np.array([0]), 3)
    with pytest.raises(ValueError, match="equally long"):
        confusion(TRUE, SAID[:-1], 4)
    with pytest.raises(ValueError, match="no answer"):
        classification(np.array([], int), np.array([], int), 4)


def test_intervals_are_of_rows_that_are_drawn_as_a_whole():
    rng = np.random.default_rng(0)
    true = np.tile(np.arange(4), (300, 1))
    said = np.where(rng.random((300, 1)) < 0.6, true, (true + 1) % 4)  # a person is right in all emotions, or in none
    together, apart = classification(true, said, 4), classification(true.ravel(), said.ravel(), 4)
    assert {key: value for key, value in together.items() if "interval" not in key} == {
        key: value for key, value in apart.items() if "interval" not in key
    }
    for key, name in (("accuracy", "interval"), ("balanced_accuracy", "balanced_interval")):
        widths = []
        for scores in (together, apart):
            low, high = scores[name]
            assert low < scores[key] < high
            widths.append(high - low)
        assert widths[0] == pytest.approx(2 * 1.96 * math.sqrt(0.6 * 0.4 / 300), rel=0.15)
        assert widths[1] == pytest.approx(widths[0] / 2, rel=0.15)


def test_a_rare_class_makes_the_balanced_accuracy_less_sure():
    true = np.repeat([0, 1], [980, 20])
    said = np.where(np.arange(1000) % 4 == 0, 1 - true, true)
    scores = classification(true, said, 2)
    (low, high), (lower, higher) = scores["interval"], scores["balanced_interval"]
    assert higher - lower > 2.5 * (high - low)


def test_the_bootstrap_repeats_and_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(size=400)
    low, high = bootstrap_interval(values)
    assert (low, high) == bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)
    doubled = bootstrap_interval(np.stack([values, values], 1), lambda rows: float(rows.mean()))
    assert doubled == pytest.approx((low, high))  # a row is one draw, however much it holds
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval(values[:0])

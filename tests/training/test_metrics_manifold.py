"""Precision, recall, density and coverage: against their definition, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import manifold as module
from training.metrics import precision_recall_density_coverage


def _slow(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """The four figures, straight from the papers, in float64."""

    def radius(points: np.ndarray, i: int) -> float:
        return np.sort(np.linalg.norm(np.delete(points, i, axis=0) - points[i], axis=1))[k - 1]

    r = np.array([radius(real, i) for i in range(len(real))])
    f = np.array([radius(fake, i) for i in range(len(fake))])
    apart = np.linalg.norm(real[:, None] - fake[None], axis=2)
    return {
        "precision": (apart <= r[:, None]).any(axis=0).mean(),
        "recall": (apart <= f).any(axis=1).mean(),
        "density": (apart <= r[:, None]).sum() / (k * len(fake)),
        "coverage": (apart.min(axis=1) <= r).mean(),
    }


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(7, 40), st.integers(7, 40))
@settings(max_examples=40, deadline=None)
def test_it_is_its_definition(seed, k, n, m):
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) * 0.7 + 0.4
    got = precision_recall_density_coverage(real, fake, k)
    assert got == pytest.approx(_slow(real, fake, k), abs=1e-12)
    assert 0 <= got["precision"] <= 1 and 0 <= got["recall"] <= 1 and 0 <= got["coverage"] <= 1  # noqa: PT018


def test_pieces_make_the_same_whole(monkeypatch):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(50, 4)), rng.normal(size=(61, 4))
    whole = precision_recall_density_coverage(real, fake)
    monkeypatch.setattr(module, "_ROWS", 7)
    assert precision_recall_density_coverage(real, fake) == whole
    swapped = precision_recall_density_coverage(fake, real)
    assert (swapped["precision"], swapped["recall"]) == (whole["recall"], whole["precision"])


def test_equal_distributions_have_the_expectation_of_the_paper():
    rng = np.random.default_rng(0)
    got = precision_recall_density_coverage(rng.normal(size=(2000, 8)), rng.normal(size=(2000, 8)), k=5)
    assert got["density"] == pytest.approx(1, abs=0.05)
    assert got["coverage"] == pytest.approx(1 - 2**-5, abs=0.015)  # Naeem et al. 2020, section 3.3


def test_one_mode_of_two_is_precise_and_half_covered_and_far_from_zero_nothing_is_lost():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 4)) + np.repeat([[0.0], [100.0]], 200, axis=0) + 3000
    fake = rng.normal(size=(400, 4)) * 0.5 + 3000
    got = precision_recall_density_coverage(real, fake)
    assert got["precision"] > 0.99
    assert 0.3 < got["coverage"] <= 0.5
    assert got["recall"] < 0.5
    nothing = precision_recall_density_coverage(real, fake - 1000)
    assert nothing == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


def test_twins_in_a_set_do_not_count_as_the_sample_itself():
    rng = np.random.default_rng(0)
    twins = np.repeat(rng.normal(size=(20, 3)), 2, axis=0)
    assert precision_recall_density_coverage(twins, rng.normal(size=(20, 3)) * 0.5, k=1)["precision"] == 0
    assert precision_recall_density_coverage(twins, twins, k=1)["precision"] == 1


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="too few for 5"):
        precision_recall_density_coverage(np.zeros((5, 2)), np.zeros((50, 2)))


def test_the_reference_implementation_says_the_same():
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(150, 6)), rng.normal(size=(150, 6)) * 0.8
    told = prc.prc_features_to_metric(
        torch.from_numpy(real), torch.from_numpy(fake), prc_neighborhood=3, prc_batch_size=100, verbose=False
    )
    got = precision_recall_density_coverage(fake, real, k=3)  # the first set is the one judged there
    assert (got["precision"], got["recall"]) == pytest.approx((told["precision"], told["recall"]), abs=0.01)

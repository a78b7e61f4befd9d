"""Frechet and kernel distances: closed forms, invariants, and other people's implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics import distances as module
from training.metrics import frechet_distance, frechet_distance_infinity, kernel_distance, kernel_distance_unbiased


def _with_moments(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Samples [n, D] whose sample mean and covariance are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    q, _ = np.linalg.qr(x)
    return q * np.sqrt(n - 1) @ np.linalg.cholesky(covariance).T + mean


def _two(seed: int, n: int = 40, m: int = 30, d: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(m, d)) + rng.normal(size=d)


def test_frechet_of_gaussians_with_commuting_covariances_is_the_closed_form():
    a = _with_moments(np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]), 50, 0)
    b = _with_moments(np.array([3.0, 1.0, -2.0]), np.diag([4.0, 4.0, 0.25]), 60, 1)
    assert frechet_distance(a, b) == pytest.approx(9 + 16 + (1 - 2) ** 2 + 0 + (3 - 0.5) ** 2, rel=1e-12)


def test_frechet_of_covariances_that_do_not_commute():
    # In two dimensions tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)), so no matrix square root is needed to know the answer.
    p, q = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    a, b = (_with_moments(np.zeros(2), c, 30, k) for k, c in enumerate((p, q)))
    shared = math.sqrt(np.trace(p @ q) + 2 * math.sqrt(np.linalg.det(p @ q)))
    assert frechet_distance(a, b) == pytest.approx(np.trace(p) + np.trace(q) - 2 * shared, rel=1e-12)


def test_frechet_with_fewer_samples_than_features_is_as_exact():
    a, b = _two(3, n=12, m=9, d=4)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(200, 200)))[0][:4]  # into 200 dimensions, isometrically
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert frechet_distance(a @ turn, a @ turn) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 10**6), st.floats(-50, 50))
@settings(max_examples=30, deadline=None)
def test_frechet_is_symmetric_and_blind_to_order_shift_and_turn(seed, shift):
    a, b = _two(seed)
    distance = frechet_distance(a, b)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert distance >= 0
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(rng.permutation(a), b) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance((a + shift) @ turn, (b + shift) @ turn) == pytest.approx(distance, rel=1e-8)
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance, rel=1e-9)


def test_frechet_agrees_with_the_matrix_square_root_of_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    a, b = _two(5, n=300, m=200, d=40)
    p, q = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(p + q - 2 * linalg.sqrtm(p @ q).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_extrapolation_takes_away_the_bias_of_few_samples():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(20000, 30)), rng.normal(size=(600, 30))
    biased, unbiased = frechet_distance(fake, real), frechet_distance_infinity(fake, real)
    assert biased > 0.4  # of two equal distributions
    assert abs(unbiased) < 0.2 * biased
    assert unbiased == frechet_distance_infinity(fake, real)
    with pytest.raises(ValueError, match="too small or too large"):
        frechet_distance_infinity(fake, real, smallest=600)


def _slow_kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    def pairs(s):
        return np.mean([k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j])

    return float(pairs(a) + pairs(b) - 2 * np.mean([k(x, y) for x in a for y in b]))


def test_kernel_distance_is_its_definition_in_one_piece_or_many(monkeypatch):
    a, b = _two(1, n=13, m=7)
    expected = _slow_kernel_distance(a, b)
    assert kernel_distance_unbiased(a, b) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(module, "_ROWS", 4)
    assert kernel_distance_unbiased(a, b) == pytest.approx(expected, rel=1e-10)
    assert kernel_distance_unbiased(b, a) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_unbiased_for_a_handful_of_samples():
    rng = np.random.default_rng(0)
    same = [kernel_distance_unbiased(rng.normal(size=(8, 4)), rng.normal(size=(28, 4))) for _ in range(2000)]
    assert abs(np.mean(same)) < 4 * np.std(same) / math.sqrt(2000)
    assert min(same) < 0
    other = [kernel_distance_unbiased(rng.normal(size=(8, 4)) + 1, rng.normal(size=(28, 4))) for _ in range(200)]
    assert np.mean(other) > 10 * np.std(same) / math.sqrt(200)


def test_kernel_distance_over_subsets_repeats_and_agrees_with_all_samples():
    a, b = _two(2, n=500, m=400)
    mean, spread = kernel_distance(a, b, subsets=60, size=100)
    assert (mean, spread) == kernel_distance(a, b, subsets=60, size=100)
    assert mean == pytest.approx(kernel_distance_unbiased(a, b), abs=5 * spread / math.sqrt(60))
    # A size beyond a set is that set: every subset is then all of it.
    assert kernel_distance(a[:50], b[:50], subsets=3)[1] == pytest.approx(0, abs=1e-9 * abs(mean))


def test_what_cannot_be_said_is_nan_and_what_cannot_be_compared_is_refused():
    one, many = np.zeros((1, 3)), np.random.default_rng(0).normal(size=(9, 3))
    assert math.isnan(frechet_distance(one, many))
    assert math.isnan(kernel_distance_unbiased(many, one))
    with pytest.raises(ValueError, match="equally long features"):
        frechet_distance(many, many[:, :2])


def test_the_reference_implementation_says_the_same():
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    torch = pytest.importorskip("torch")
    a, b = _two(7, n=300, m=300, d=24)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    moments = fid.fid_features_to_statistics(ta), fid.fid_features_to_statistics(tb)
    expected = fid.fid_statistics_to_metric(*moments, False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    told = kid.kid_features_to_metric(ta, tb, kid_subsets=1, kid_subset_size=300, verbose=False)
    assert kernel_distance_unbiased(a, b) == pytest.approx(told["kernel_inception_distance_mean"], rel=1e-6)

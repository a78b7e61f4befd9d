"""Distances between two sets of features: Frechet and kernel.

Both depend on the network that made the features, and the Frechet distance on the number of samples too: a figure means
something only next to the same figure for real against real, with equally many samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS = 2048  # of a kernel matrix held at once: 2048 x 30,000 doubles are half a gigabyte


def _pair(a: NDArray[np.floating], b: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x: NDArray[np.float64] = np.asarray(a, np.float64)
    y: NDArray[np.float64] = np.asarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"expected two sets of equally long features, got {x.shape} and {y.shape}")
    return x, y


class _Gaussian:
    """The normal distribution fitted to samples float64 ``[N, D]``: its mean, and X ``[min(N, D), D]`` with X'X its
    covariance."""

    def __init__(self, samples: NDArray[np.float64]) -> None:
        self.mean = samples.mean(axis=0)
        self.factor = np.asarray(np.linalg.qr((samples - self.mean) / np.sqrt(len(samples) - 1), mode="r"))

    def distance(self, other: _Gaussian) -> float:
        shared = np.linalg.svd(self.factor @ other.factor.T, compute_uv=False).sum()
        means = np.square(self.mean - other.mean).sum()
        return float(max(means + np.square(self.factor).sum() + np.square(other.factor).sum() - 2 * shared, 0.0))


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Frechet distance of the Gaussians fitted to ``a`` ``[N, D]`` and ``b`` ``[M, D]``, 0 or more.

    ``|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2))`` with covariances A and B (Heusel et al. 2017, eq. 6); with
    Inception's features it is FID. Two samples or more in each set.

    The trace of the square root is the sum of the singular values of X Y', where A = X'X and B = Y'Y; X and Y come from
    the centred features by QR. That squares nothing, so it loses no digits and needs no matrix square root, and it is
    as exact when there are fewer samples than features. The *estimate* is biased upwards all the same, by about 1 / N.
    """
    a, b = _pair(a, b)
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    return _Gaussian(a).distance(_Gaussian(b))


def frechet_distance_infinity(
    fake: NDArray[np.floating],
    real: NDArray[np.floating],
    *,
    rng: np.random.Generator | None = None,
    points: int = 15,
    smallest: int | None = None,
) -> float:
    """Frechet distance extrapolated to infinitely many generated samples (Chong & Forsyth 2020, section 3).

    The distance of random subsets of ``fake`` ``[N, D]`` to all of ``real`` ``[M, D]`` is close to a line in 1 / size;
    this is where the line meets 0. ``points`` sizes from ``smallest`` to N are measured; None is a tenth of N, but more
    samples than features, below which there is no such line, where half of N allows it. The bias of the finite ``real``
    stays in. It may come out a little below 0.
    """
    fake, real = _pair(fake, real)
    rng = np.random.default_rng(0) if rng is None else rng
    if smallest is None:
        smallest = max(2, len(fake) // 10, min(fake.shape[1] + 1, len(fake) // 2))
    if not 2 <= smallest < len(fake):
        raise ValueError(f"subsets of {smallest} of {len(fake)} samples are too small or too large")
    sizes = np.unique(np.linspace(smallest, len(fake), points).astype(int))
    fitted = _Gaussian(real)
    distances = [_Gaussian(fake[rng.permutation(len(fake))[:size]]).distance(fitted) for size in sizes]
    return float(np.polyfit(1 / sizes, distances, 1)[1])


def _kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _within(a: NDArray[np.float64]) -> float:
    """Mean of the kernel over pairs of different samples."""
    total = sum(_kernel(a[i : i + _ROWS], a).sum() for i in range(0, len(a), _ROWS))
    diagonal = ((np.square(a).sum(axis=1) / a.shape[1] + 1) ** 3).sum()
    return float((total - diagonal) / (len(a) * (len(a) - 1)))


def kernel_distance_unbiased(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Squared maximum mean discrepancy of ``a`` ``[N, D]`` and ``b`` ``[M, D]``, from all samples.

    The unbiased estimate with the kernel ``(x.y / D + 1)^3`` (Gretton et al. 2012, eq. 3; Binkowski et al. 2018,
    section 4). Its expectation does not depend on N and M, so it serves for classes with few faces; it is below 0 about
    half of the time when both sets are of one kind. NaN with fewer than two samples in a set.
    """
    a, b = _pair(a, b)
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    across = sum(_kernel(a[i : i + _ROWS], b).sum() for i in range(0, len(a), _ROWS)) / (len(a) * len(b))
    return float(_within(a) + _within(b) - 2 * across)


def kernel_distance(
    a: NDArray[np.floating],
    b: NDArray[np.floating],
    *,
    subsets: int = 100,
    size: int = 1000,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Kernel distance of ``a`` ``[N, D]`` and ``b`` ``[M, D]``: mean and standard deviation over random subsets.

    With Inception's features it is KID (Binkowski et al. 2018, section 4), which is reported with 100 subsets of 1000.
    A set with fewer than ``size`` samples sets the size for both; ``rng`` None draws the same subsets every time.
    """
    a, b = _pair(a, b)
    rng = np.random.default_rng(0) if rng is None else rng
    size = min(size, len(a), len(b))
    values = [
        kernel_distance_unbiased(a[rng.choice(len(a), size, replace=False)], b[rng.choice(len(b), size, replace=False)])
        for _ in range(subsets)
    ]
    return float(np.mean(values)), float(np.std(values))

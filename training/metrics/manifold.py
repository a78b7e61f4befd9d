"""Whether generated samples are plausible, and whether they cover what is real."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROWS = 1024  # of a distance matrix held at once: 1024 x 30,000 floats are 120 MB


def _squared(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared Euclidean distances ``[N, M]``."""
    cross = a @ b.T
    cross *= -2
    cross += np.square(a).sum(axis=1)[:, None]
    cross += np.square(b).sum(axis=1)
    return np.maximum(cross, 0, out=cross)


def _radii(points: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """Squared distance ``[N]`` of each point to its k-th nearest other one."""
    radii = np.empty(len(points), np.float32)
    for i in range(0, len(points), _ROWS):
        squared = _squared(points[i : i + _ROWS], points)
        rows = np.arange(len(squared))
        squared[rows, i + rows] = -1  # itself comes first, whatever rounding and twins do
        radii[i : i + _ROWS] = np.partition(squared, k, axis=1)[:, k]
    return radii


def precision_recall_density_coverage(
    real: NDArray[np.floating], fake: NDArray[np.floating], k: int = 5
) -> dict[str, float]:
    """Compare features ``real`` ``[N, D]`` and ``fake`` ``[M, D]``; N and M must be above ``k``.

    Balls around the samples of a set, each reaching to its k-th nearest neighbour in that set, stand for its manifold.

    Returns:
        ``precision``: part of the generated samples in a ball of a real one; ``recall``: part of the real ones in a
        ball of a generated one (Kynkaanniemi et al. 2019, eq. 1 and 2); ``density``: how many real balls hold a
        generated sample, in the mean, / k (can exceed 1); ``coverage``: part of the real balls that hold a generated
        sample (Naeem et al. 2020, eq. 4 and 5). All depend on N, M and k. Two equal distributions have density 1 and,
        with N = M, coverage 1 - 2^-k; precision and recall stay below 1: compare them with those of real against real.

    Distances are float32; memory is some hundred megabytes for 10,000 x 10,000.
    """
    if min(len(real), len(fake)) <= k or k < 1:
        raise ValueError(f"{len(real)} real and {len(fake)} generated samples are too few for {k} neighbours")
    centre = np.mean(real, axis=0, dtype=np.float64)  # far from 0, squared distances would lose their digits
    a, b = (np.ascontiguousarray(points - centre, np.float32) for points in (real, fake))
    real_radii, fake_radii = _radii(a, k), _radii(b, k)
    inside = np.zeros(len(b), np.int64)
    recalled, covered = 0, 0
    for i in range(0, len(a), _ROWS):
        squared = _squared(a[i : i + _ROWS], b)
        hits = squared <= real_radii[i : i + _ROWS, None]
        inside += hits.sum(axis=0)
        covered += int(hits.any(axis=1).sum())
        recalled += int((squared <= fake_radii).any(axis=1).sum())
    return {
        "precision": float((inside > 0).mean()),
        "recall": recalled / len(a),
        "density": float(inside.mean() / k),
        "coverage": covered / len(a),
    }

"""Whether one seed is one person, whether seeds differ, and whether an emotion grows with its intensity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 0  # of the pairs that are compared when there are too many
_PAIRS = 200_000


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks ``[N]`` from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return ranks


def auc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Probability that a random ``positive`` ``[N]`` is above a random ``negative`` ``[M]``; a tie counts half.

    It is the area under the ROC curve, and the Mann-Whitney U / (N M) (Hanley & McNeil 1982). NaN if either is empty.
    """
    n, m = len(positive), len(negative)
    if n == 0 or m == 0:
        return float("nan")
    ranks = _ranks(np.concatenate([positive, negative]).astype(np.float64))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def equal_error_rate(same: NDArray[np.floating], different: NDArray[np.floating]) -> float:
    """Error rate 0..1 at the distance from which as many ``same`` pairs ``[N]`` are taken for two people as
    ``different`` pairs ``[M]`` for one; between two such distances, the mean of both rates. NaN if either is empty.
    """
    if len(same) == 0 or len(different) == 0:
        return float("nan")
    limits = np.unique(np.concatenate([same, different]))
    missed = 1 - np.searchsorted(np.sort(same), limits, side="right") / len(same)
    mistaken = np.searchsorted(np.sort(different), limits, side="right") / len(different)
    best = np.argmin(np.abs(missed - mistaken))
    return float((missed[best] + mistaken[best]) / 2)


def _some(count: int, limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices 0..``count`` - 1: all of them, or ``limit`` distinct ones."""
    return np.arange(count) if count <= limit else rng.choice(count, limit, replace=False)


def _apart(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = np.linalg.norm(x - y, axis=-1)
    return distances


def identity_auc(embeddings: NDArray[np.floating], *, pairs: int = _PAIRS) -> dict[str, float]:
    """Tell whether a seed is a person: face embeddings ``[S, E, D]`` of S seeds in E emotions, Euclidean.

    Pairs of one seed in two emotions ("same") are compared with pairs of two seeds in one emotion ("different"): an
    emotion makes faces alike too, so this is the harder of the two comparisons; the easier one takes two seeds in two
    emotions ("across"). Of more than ``pairs`` of a kind, so many are drawn, the same ones every time.

    Returns:
        ``auc``: probability that a same pair is nearer than a different one, 0.5 where the embedding sees no identity;
        ``auc_across``; ``equal_error_rate`` of same against different; ``same_mean``, ``different_mean`` and
        ``across_mean`` distances. NaN with fewer than two seeds or emotions.
    """
    points = np.asarray(embeddings, np.float64)
    if points.ndim != 3:
        raise ValueError(f"expected embeddings [seeds, emotions, features], got {points.shape}")
    seeds, emotions, _ = points.shape
    rng = np.random.default_rng(_SEED)
    s1, s2 = np.triu_indices(seeds, 1)
    e1, e2 = np.triu_indices(emotions, 1)

    who, pair = np.divmod(_some(seeds * len(e1), pairs, rng), max(len(e1), 1))
    same = _apart(points[who, e1[pair]], points[who, e2[pair]])
    pair, what = np.divmod(_some(len(s1) * emotions, pairs, rng), max(emotions, 1))
    different = _apart(points[s1[pair], what], points[s2[pair], what])
    # Two seeds and two emotions pair up in two ways.
    rest, turned = np.divmod(_some(len(s1) * len(e1) * 2, pairs, rng), 2)
    pair, kind = np.divmod(rest, max(len(e1), 1))
    first, second = np.where(turned, e2[kind], e1[kind]), np.where(turned, e1[kind], e2[kind])
    across = _apart(points[s1[pair], first], points[s2[pair], second])

    def mean(distances: NDArray[np.float64]) -> float:
        return float(distances.mean()) if len(distances) else float("nan")

    return {
        "auc": auc(different, same),
        "auc_across": auc(across, same),
        "equal_error_rate": equal_error_rate(same, different),
        "same_mean": mean(same),
        "different_mean": mean(different),
        "across_mean": mean(across),
    }


def diversity(features: NDArray[np.floating], *, pairs: int = _PAIRS) -> float:
    """Mean Euclidean distance of two different samples of ``features`` ``[N, D]``, from at most ``pairs`` pairs.

    It means something only next to that of real samples from the same network. NaN with fewer than two samples.
    """
    points = np.asarray(features, np.float64)
    n = len(points)
    if n < 2:
        return float("nan")
    # Pair i * (n - 1) + j is sample i with the j-th of the others: all ordered pairs, without a list of them.
    first, other = np.divmod(_some(n * (n - 1), 2 * pairs, np.random.default_rng(_SEED)), n - 1)
    second = other + (other >= first)
    total = sum(
        _apart(points[first[i : i + 4096]], points[second[i : i + 4096]]).sum() for i in range(0, len(first), 4096)
    )
    return float(total / len(first))


def monotonic(scores: NDArray[np.floating], *, tolerance: float = 0.0) -> dict[str, Any]:
    """Tell how an emotion answers to its intensity: ``scores`` ``[S, T]``, of S seeds at T rising intensities.

    Returns:
        ``spearman``: rank correlation of score and intensity, -1..1, the mean over seeds (a seed whose score never
        changes counts 0); ``spearman_low``: its 5 % quantile over seeds; ``curve``: mean score at each intensity;
        ``rising``: part of all steps in which the score does not fall by more than ``tolerance``.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise ValueError(f"expected scores [seeds, intensities] with two intensities or more, got {scores.shape}")
    ranks = np.stack([_ranks(row) for row in scores])
    ranks -= ranks.mean(axis=1, keepdims=True)
    steps = np.arange(scores.shape[1]) - (scores.shape[1] - 1) / 2
    length = np.linalg.norm(ranks, axis=1) * np.linalg.norm(steps)
    spearman = np.divide(ranks @ steps, length, out=np.zeros(len(ranks)), where=length > 0)
    return {
        "spearman": float(spearman.mean()),
        "spearman_low": float(np.quantile(spearman, 0.05)),
        "curve": scores.mean(axis=0).tolist(),
        "rising": float((np.diff(scores, axis=1) >= -tolerance).mean()),
    }

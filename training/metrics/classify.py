"""How often a classifier's answer is the right one, and how sure that figure is."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion(true: NDArray[np.integer], said: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count answers: ``true`` and ``said`` ``[N]`` in 0..``classes`` - 1 -> ``[classes, classes]``, rows are true."""
    true, said = np.asarray(true, np.int64), np.asarray(said, np.int64)
    if true.shape != said.shape or true.ndim != 1:
        raise ValueError(f"expected two equally long rows of classes, got {true.shape} and {said.shape}")
    for row in (true, said):
        if row.size and not 0 <= row.min() <= row.max() < classes:
            raise ValueError(f"a class is outside 0..{classes - 1}")
    return np.bincount(true * classes + said, minlength=classes**2).reshape(classes, classes)


def classification(true: NDArray[np.integer], said: NDArray[np.integer], classes: int) -> dict[str, Any]:
    """Score answers ``said`` ``[N]`` against ``true`` ``[N]``, both in 0..``classes`` - 1.

    Returns:
        ``accuracy`` and its Wilson ``interval``; ``balanced_accuracy``, the mean recall of the classes that occur;
        ``recall`` and ``f1`` by class, 0 for a class that does not occur; ``macro_f1``, the mean F1 of the classes that
        occur or are said; ``confusion`` as nested lists, rows are true; ``count``, N.
    """
    matrix = confusion(true, said, classes)
    right, occurs, told = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    recall = right / np.maximum(occurs, 1)
    f1 = 2 * right / np.maximum(occurs + told, 1)
    count = int(matrix.sum())
    if count == 0:
        raise ValueError("there is no answer to score")
    return {
        "accuracy": float(right.sum() / count),
        "interval": list(interval(int(right.sum()), count)),
        "balanced_accuracy": float(recall[occurs > 0].mean()),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "macro_f1": float(f1[occurs + told > 0].mean()),
        "confusion": matrix.tolist(),
        "count": count,
    }


def interval(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's confidence interval of a proportion, ``hits`` of ``count`` (Wilson 1927): ``(low, high)`` in 0..1.

    Unlike the textbook one it is right near 0 and 1 and for few trials. With no trials it is ``(0, 1)``.
    """
    if not 0 <= hits <= count:
        raise ValueError(f"{hits} of {count} is no proportion")
    if count == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (hits + z * z / 2) / (count + z * z)
    reach = z / (count + z * z) * np.sqrt(hits * (count - hits) / count + z * z / 4)
    # At 0 and 1 the formula's ends are exact but for rounding.
    low = 0.0 if hits == 0 else float(middle - reach)
    return low, 1.0 if hits == count else float(middle + reach)


def bootstrap_interval(
    values: NDArray[np.floating],
    statistic: Callable[[NDArray[np.floating]], float] = np.mean,
    *,
    rounds: int = 1000,
    confidence: float = 0.95,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) of a statistic of ``values`` ``[N, ...]``.

    Whole rows are drawn with replacement, so put what belongs together (one person's faces) into one row.
    """
    values = np.asarray(values)
    if len(values) == 0:
        raise ValueError("there are no values to draw from")
    rng = np.random.default_rng(0) if rng is None else rng
    drawn = [float(statistic(values[rng.integers(len(values), size=len(values))])) for _ in range(rounds)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)

"""How often a classifier's answer is the right one, and how sure that figure is."""

from __future__ import annotations

from collections.abc import Callable
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
    """Score answers ``said`` against ``true``, both ``[N]`` or ``[N, K]`` and in 0..``classes`` - 1.

    A row holds answers that belong together (one person's faces) and are resampled together for the intervals.

    Returns:
        ``accuracy``; ``balanced_accuracy``, the mean recall of the classes that occur; ``interval`` and
        ``balanced_interval``, what :func:`bootstrap_interval` says of these two; ``recall`` and ``f1`` by class, 0 for
        a class that does not occur; ``macro_f1``, the mean F1 of the classes that occur or are said; ``confusion`` as
        nested lists, rows are true; ``count``, of all answers.
    """
    true, said = np.asarray(true, np.int64), np.asarray(said, np.int64)
    if true.size == 0:
        raise ValueError("there is no answer to score")
    matrix = confusion(true.ravel(), said.ravel(), classes)
    right, occurs, told = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    f1 = 2 * right / np.maximum(occurs + told, 1)
    cells = true * classes + said  # of the matrix, one an answer: quick to draw and to count

    def interval(statistic: Callable[[NDArray[np.int64]], float]) -> list[float]:
        def of(drawn: NDArray[np.int64]) -> float:
            return statistic(np.bincount(drawn.ravel(), minlength=classes**2).reshape(classes, classes))

        return list(bootstrap_interval(cells, of))

    return {
        "accuracy": _accuracy(matrix),
        "interval": interval(_accuracy),
        "balanced_accuracy": _balanced_accuracy(matrix),
        "balanced_interval": interval(_balanced_accuracy),
        "recall": (right / np.maximum(occurs, 1)).tolist(),
        "f1": f1.tolist(),
        "macro_f1": float(f1[occurs + told > 0].mean()),
        "confusion": matrix.tolist(),
        "count": int(matrix.sum()),
    }


def _accuracy(matrix: NDArray[np.int64]) -> float:
    return float(np.trace(matrix) / matrix.sum())


def _balanced_accuracy(matrix: NDArray[np.int64]) -> float:
    occurs = matrix.sum(axis=1)
    return float((np.diag(matrix) / np.maximum(occurs, 1))[occurs > 0].mean())


def bootstrap_interval(
    values: NDArray[Any],
    statistic: Callable[[NDArray[Any]], float] = np.mean,
    *,
    rounds: int = 1000,
    confidence: float = 0.95,
    rng: np.random.Generator | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap (Efron & Tibshirani 1993, chapter 13) of a statistic of ``values`` ``[N, ...]``.

    Whole rows are drawn with replacement, so put what belongs together (one person's faces) into one row. It tells how
    far the statistic moves with the rows; where all rows agree (an accuracy of 1) it has no width. ``rng`` None draws
    the same rows every time.
    """
    values = np.asarray(values)
    if len(values) == 0:
        raise ValueError("there are no values to draw from")
    rng = np.random.default_rng(0) if rng is None else rng
    drawn = [float(statistic(values[rng.integers(len(values), size=len(values))])) for _ in range(rounds)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)

"""The mathematics of judging: pure functions on arrays, none of which knows what a report is.

Arrays are numpy's; what is returned is plain Python, ready for JSON. Where a figure cannot be said (the spread of a
single face, say) it is NaN.
"""

from __future__ import annotations

from training.metrics.classify import bootstrap_interval, classification, confusion
from training.metrics.distances import (
    frechet_distance,
    frechet_distance_infinity,
    kernel_distance,
    kernel_distance_unbiased,
)
from training.metrics.manifold import precision_recall_density_coverage
from training.metrics.people import auc, diversity, equal_error_rate, identity_auc, monotonic

__all__ = [
    "auc",
    "bootstrap_interval",
    "classification",
    "confusion",
    "diversity",
    "equal_error_rate",
    "frechet_distance",
    "frechet_distance_infinity",
    "identity_auc",
    "kernel_distance",
    "kernel_distance_unbiased",
    "monotonic",
    "precision_recall_density_coverage",
]

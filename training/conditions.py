"""What the networks are told of an emotion while they train: all of it, or faded in, or with noise.

The condition stays a vector that sums to 1, so nothing in the networks knows of this, and what comes of a run is an
ordinary generator.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.recipe import Recipe, ScheduleRecipe

_BETA = 0.999  # images of an emotion beyond about 1 / (1 - beta) add little to what they show (Cui et al. 2019)

Vectors = NDArray[np.float32]


def condition_weight(schedule: ScheduleRecipe, cur_nimg: int) -> float:
    """Return how much of the emotion is told at ``cur_nimg`` images, 0..1: linear from one setting to the other."""
    since = cur_nimg - schedule.condition_from_kimg * 1000
    span = (schedule.condition_until_kimg - schedule.condition_from_kimg) * 1000
    return min(max(since / span, 0.0), 1.0) if span > 0 else float(since >= 0)


def rarity(labels: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how rare each emotion is, ``[E]`` for labels ``[N, E]``, with a mean of 1 over those that there are.

    It is the inverse of the effective number of images, (1 - beta ** n) / (1 - beta) (Cui et al. 2019, section 3).
    """
    mass = labels.sum(axis=0, dtype=np.float64)
    there = mass > 0
    inverse = np.where(there, (1 - _BETA) / (1 - _BETA ** np.maximum(mass, 1.0)), 0.0)
    return inverse * there.sum() / inverse.sum()


class Conditions:
    """Makes conditions of labels, by one recipe and for one data set."""

    def __init__(self, labels: NDArray[np.float32], probabilities: NDArray[np.float64], recipe: Recipe) -> None:
        """Take the labels ``[M, E]`` of the data set, and the probability ``[M]`` with which each is drawn."""
        self._recipe = recipe
        self._mean = (probabilities @ labels).astype(np.float32)
        self._noise = (recipe.data.label_noise * rarity(labels)).astype(np.float32)

    def at(self, labels: Vectors, cur_nimg: int, rng: np.random.Generator) -> tuple[Vectors, Vectors, Vectors]:
        """Return what to tell of labels ``[N, E]`` at ``cur_nimg`` images, three times ``[N, E]``, rows sum to 1.

        The first is for the discriminator: the label, as far as it is faded in, or else the data set's mean, which says
        nothing (Shahbazi et al. 2022, "Collapse by Conditioning"). That paper has two logits, without and
        with the class; here the projection discriminator's one logit is the sum of both, and the fade is in the second.

        The second and the third are for the generator: the same with noise, drawn twice, of a deviation that grows with
        the emotion's rarity (Rangwani et al. 2023, NoisyTwins, noise augmentation). The embedding is linear, so noise
        on the vector is noise on the embedding; it leaves the sum at 1, so a noisy emotion is a mix of emotions, though
        some may be a little below 0. Without noise nothing is drawn from ``rng``.
        """
        weight = condition_weight(self._recipe.schedule, cur_nimg)
        told = labels if weight == 1 else self._mean + np.float32(weight) * (labels - self._mean)
        if not self._recipe.data.label_noise:
            return told, told, told
        noise = rng.standard_normal((2, *labels.shape), dtype=np.float32)
        noise -= noise.mean(axis=2, keepdims=True)
        first, second = told + np.float32(weight) * (labels @ self._noise)[:, None] * noise
        return told, first, second

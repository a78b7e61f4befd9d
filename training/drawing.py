"""Generated faces for the evaluation: the same people in every emotion, one seed a face, or with real label vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.emotions import EmotionMix
from model.sampler import FaceRequest, FaceSampler
from training.reference import Faces

FIRST_SEED: Final = 1_000_000  # of the faces that a classifier learns from: none of them is judged as well
_LABEL_SEED: Final = 0  # of the order in which label vectors are drawn


def draw_people(
    sampler: FaceSampler, emotions: Sequence[str], people: int, truncation: float, intensity: float = 1.0
) -> NDArray[np.uint8]:
    """Draw seeds 0 to ``people`` - 1 in every emotion: uint8 ``[E, people, C, H, W]``."""
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in emotions]
    requests = [FaceRequest(mix, seed, intensity, truncation) for mix in mixes for seed in range(people)]
    faces = sampler.sample(requests).transpose(0, 3, 1, 2)
    return faces.reshape(len(emotions), people, *faces.shape[1:])


def draw_faces(
    sampler: FaceSampler,
    emotions: Sequence[str],
    counts: Sequence[int] | NDArray[np.int64],
    truncation: float,
    first_seed: int = FIRST_SEED,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw ``counts[k]`` faces of ``emotions[k]``, each of a seed of its own.

    Returns:
        uint8 ``[N, C, H, W]`` in the order of the emotions, and the index of each one's emotion, int64 ``[N]``.
    """
    asked = np.repeat(np.arange(len(emotions)), counts)
    mixes = [EmotionMix.parse(emotion, sampler.emotions) for emotion in emotions]
    requests = [FaceRequest(mixes[k], first_seed + n, 1.0, truncation) for n, k in enumerate(asked)]
    return sampler.sample(requests).transpose(0, 3, 1, 2), asked


def draw_labelled(
    sampler: FaceSampler, train: Faces, vocabulary: Sequence[str], count: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw seeds 0 to ``count`` - 1 at truncation 1, each with the label vector of a training face.

    The training faces are taken in a random order that is always the same, and from the beginning again when there are
    fewer than ``count``. Only then do generated and training faces have the same distribution of conditions, which the
    Frechet distance of a conditional generator assumes; StyleGAN2-ADA measures FID so too (Karras et al. 2020; its
    ``metric_utils.py``).

    Args:
        train: training faces with their labels ``[N, len(vocabulary)]``.
        vocabulary: what the entries of a label stand for. The mass of emotions that the weights do not know is shared
            out over those that they know, in proportion.

    Returns:
        uint8 ``[count, C, H, W]``, and the class of each one's training face, int64 ``[count]``.
    """
    rows = np.resize(np.random.default_rng(_LABEL_SEED).permutation(len(train.labels)), count)
    labels = np.zeros((count, len(sampler.emotions)), np.float32)
    for column, emotion in enumerate(sampler.emotions):
        if emotion in vocabulary:
            labels[:, column] = train.labels[rows, list(vocabulary).index(emotion)]
    labels /= labels.sum(axis=1, keepdims=True)  # above 0: the largest entry is of an emotion that the weights know
    latents = np.stack([sampler.latent(seed) for seed in range(count)])
    faces = sampler.draw(latents, labels, np.ones(count, np.float32))
    return faces.transpose(0, 3, 1, 2), train.classes[rows]

"""What one step sees, as a function of the counter: images, labels, latents and random numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.packed import PackedDataset
from training.distributed import ALONE, World
from training.recipe import Recipe
from training.transfer import send

_STREAM = 0x747261696E  # second word of the Philox key: training shares no random numbers with any other use


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input, or a process's share of it. All tensors are on the training device."""

    images: Tensor  # float32 [N, C, H, W] in -1..1
    emotions: Tensor  # float32 [N, E], rows sum to 1; what the images show, or should show if generated
    latents: Tensor  # float32 [N, latent_dim], standard normal
    rng: torch.Generator  # on the CPU, for the augmentation; the same in every process


def draw_weights(labels: NDArray[np.float32], balance: float) -> NDArray[np.float64]:
    """Return the probability of each image, float64 ``[N]``, for labels ``[N, E]``.

    An emotion of mass n (the sum of its column) is drawn in proportion to n ** (1 - balance): 0 draws the data as they
    come, 0.5 by the square root, 1 shows every emotion equally often.
    """
    mass = labels.sum(axis=0, dtype=np.float64)
    factor = np.where(mass > 0, np.maximum(mass, 1e-9) ** -balance, 0.0)
    weights: NDArray[np.float64] = labels.astype(np.float64) @ factor
    return weights / weights.sum()


class BatchSource:
    """Draws batches from a packed data set, each a function of (seed, images seen) and nothing else."""

    def __init__(self, data: PackedDataset, recipe: Recipe, device: str, world: World = ALONE) -> None:
        self._recipe = recipe
        self._device = device
        self._world = world
        self._images = torch.from_numpy(data.images).to(device)
        self._labels = data.labels
        self._cumulative = np.cumsum(draw_weights(data.labels, recipe.data.balance))

    def labels(self, rng: np.random.Generator, n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Draw ``n`` images: their indices ``[n]`` and their labels ``[n, E]``, some hardened as the recipe says."""
        index = np.minimum(np.searchsorted(self._cumulative, rng.random(n)), len(self._cumulative) - 1)
        labels = self._labels[index]
        hard = np.eye(labels.shape[1], dtype=np.float32)[labels.argmax(axis=1)]
        chosen = rng.random((n, 1)) < self._recipe.data.hard_labels
        return index, np.where(chosen, hard, labels)

    def at(self, cur_nimg: int) -> Batch:
        """Return the batch of the step that begins when ``cur_nimg`` real images have been seen.

        All of it is drawn in every process, and each then takes its share.
        """
        recipe = self._recipe
        n = recipe.schedule.batch
        # The counter goes into the highest word, so the streams of two steps never overlap.
        rng = np.random.Generator(np.random.Philox(key=[recipe.seed, _STREAM], counter=[0, 0, 0, cur_nimg]))
        index, labels = self.labels(rng, n)
        flip = self._own(rng.random(n) < 0.5)
        latents = self._own(rng.standard_normal((n, recipe.generator.latent_dim), dtype=np.float32))
        images = self._images[self._own(index)].float().div(127.5).sub(1)
        if recipe.data.flip:
            images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
        augmentation = torch.Generator().manual_seed(int(rng.integers(2**63)))
        return Batch(images, self._own(labels), latents, augmentation)

    def _own(self, whole: NDArray[Any]) -> Tensor:
        """Return this process's share of an array over the batch, on the device."""
        return send(torch.from_numpy(self._world.share(whole)), self._device)

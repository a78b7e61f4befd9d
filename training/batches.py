"""What one step sees, as a function of the counter: images, labels, latents and random numbers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import NORMALS, UNIFORMS
from training.data.errors import DataError
from training.data.packed import PackedDataset
from training.distributed import ALONE, World
from training.recipe import Recipe
from training.transfer import send
from training.vote_labels import sampling_weights, training_labels

_STREAM: Final = 0x747261696E  # second word of the Philox key: training shares no random numbers with any other use
#: Sets of images that a step augments: real ones, generated ones for the discriminator, and for the generator.
AUGMENTED: Final = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's input, or a process's share of it. All tensors are on the training device."""

    images: Tensor  # float32 [N, C, H, W], black at -1, white at 1
    emotions: Tensor  # float32 [N, E], rows sum to 1; labels of the real images, and conditions of the generated ones
    latents: Tensor  # float32 [N, latent_dim], standard normal; where identity is learned, rows 2k and 2k + 1 are equal
    normals: Tensor  # float32 [AUGMENTED, NORMALS, N]; for the augmentation
    uniforms: Tensor  # float32 [AUGMENTED, UNIFORMS, N]; for the augmentation
    seed: int  # for what draws from torch's own generator: dropout

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in a fixed order."""
        return [value for item in fields(self) if isinstance(value := getattr(self, item.name), Tensor)]


class BatchSource:
    """Draws batches from a packed data set, each a function of (seed, images seen) and nothing else.

    Raises:
        DataError: no image may be shown, or its votes cannot be read.
    """

    def __init__(self, data: PackedDataset, recipe: Recipe, device: str, world: World = ALONE) -> None:
        self._recipe = recipe
        self._device = device
        self._world = world
        labels, shown = training_labels(data) if recipe.data.labels == "votes" else (data.labels, None)
        if shown is not None and not shown.all():
            labels, images = labels[shown], data.images[shown]
        else:
            images = data.images
        if not len(images):
            raise DataError("the data set has no image that may be shown in training.")
        self._images = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        self._labels = labels
        self._cumulative = np.cumsum(sampling_weights(labels, recipe.data.rarity, recipe.data.agreement))

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
        paired = bool(recipe.loss.identity)
        latents = rng.standard_normal((n // 2 if paired else n, recipe.generator.network.latent_dim), np.float32)
        latents = self._world.share(latents)
        if paired:
            latents = latents.repeat(2, axis=0)  # neighbours are one person in two emotions
        normals = rng.standard_normal((AUGMENTED, NORMALS, n), np.float32)
        uniforms = rng.random((AUGMENTED, UNIFORMS, n), np.float32)
        images = self._images[self._own(index)].float().div(127.5).sub(1)
        if recipe.data.flip:
            images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
        return Batch(
            images,
            self._own(labels),
            self._send(latents),
            self._send(self._world.share(normals, dim=2)),
            self._send(self._world.share(uniforms, dim=2)),
            int(rng.integers(2**63)),
        )

    def _own(self, whole: NDArray[Any]) -> Tensor:
        """Return this process's share of an array over the batch, on the device."""
        return self._send(self._world.share(whole))

    def _send(self, array: NDArray[Any]) -> Tensor:
        return send(torch.from_numpy(np.ascontiguousarray(array)), self._device)

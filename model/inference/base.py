"""What every way to draw is. Needs no torch."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from model.networks.configs import GeneratorConfig

Floats = NDArray[np.float32]

#: What can be computed in.
PRECISIONS: Final = ("float32", "bfloat16")


class Renderer(Protocol):
    """Draws faces. As many threads as ``max_concurrency`` may call it at once."""

    @property
    def runtime(self) -> str:
        """The package that computes, as pip calls it: another one, or another version, may round differently."""

    @property
    def batch_size(self) -> int:
        """How many faces are best asked for at a time."""

    @property
    def max_concurrency(self) -> int:
        """How many threads may call at once."""

    def __call__(self, latents: Floats, emotions: Floats, truncations: Floats) -> NDArray[np.uint8]:
        """Draw faces.

        Args:
            latents: ``[n, latent_dim]``, standard normal.
            emotions: ``[n, len(emotions)]``, each row sums to 1.
            truncations: ``[n]``, the truncation psi, 0 to 1.

        Returns:
            uint8 ``[n, resolution, resolution, channels]``, 0 black, 255 white. A face depends on its own row alone.
        """


def trial_inputs(config: GeneratorConfig, count: int) -> tuple[Floats, Floats, Floats]:
    """Return latents, emotions and truncations of ``count`` faces to try out a way to draw with."""
    random = np.random.default_rng(0)
    latents = random.standard_normal((count, config.latent_dim), np.float32)
    emotions = random.dirichlet(np.ones(len(config.emotions)), count).astype(np.float32)
    return latents, emotions, random.uniform(0.5, 1, count).astype(np.float32)

"""What every generator and every discriminator is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from model.networks.configs import DiscriminatorConfig, GeneratorConfig


class Generator(nn.Module, ABC):
    """A configuration, and the way from latents and emotions to faces."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, latent: Tensor, emotion: Tensor, truncation: Tensor | None = None) -> Tensor:
        """Draw faces.

        Args:
            latent: float ``[N, latent_dim]``, standard normal. Its dtype is that of the arithmetic.
            emotion: float ``[N, len(emotions)]``, each row sums to 1.
            truncation: float ``[N]``, the truncation psi: 0 is the average person, 1 the full variety of people, which
                is the default. The style-based generator truncates in w; the others scale the latent.

        Returns:
            float ``[N, channels, resolution, resolution]``, black at -1, white at 1; float32 or the dtype of
            ``latent``. A style-based generator's values may lie a little outside of -1..1.
        """


class Discrimination(NamedTuple):
    """What a discriminator says of N images; all float32. Heads that it lacks give ``[N, 0]``."""

    logit: Tensor  # [N]; above 0: real
    emotion: Tensor  # [N, len(emotions)], logits of the emotion that the face shows
    identity: Tensor  # [N, identity_dim], length 1; near one another where two faces show the same person


class Discriminator(nn.Module, ABC):
    """A binary classifier of real and generated images that is told which emotion an image should show."""

    separate_batches: ClassVar[bool] = False  # real and generated images must not share a batch

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, image: Tensor, emotion: Tensor) -> Discrimination:
        """Tell real from generated faces.

        Args:
            image: float ``[N, channels, resolution, resolution]``, black at -1, white at 1. Its dtype is that of the
                arithmetic.
            emotion: float ``[N, len(emotions)]``, each row sums to 1.
        """


def scaled(latent: Tensor, truncation: Tensor | None) -> Tensor:
    """Return latents ``[N, latent_dim]`` scaled by ``truncation`` ``[N]``; unchanged where that is None."""
    return latent if truncation is None else latent * truncation.to(latent.dtype).unsqueeze(1)

"""The generator: a latent and an emotion vector in, a face out. What every one is, and the residual one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.emotions import FER2013
from model.layers import ConditionalBatchNorm2d, Conv2d, GeneratorBlock, Linear
from model.people import Acceptance

#: What networks can be made of; see model/networks.py.
ARCHITECTURES: Final = ("residual", "dense", "convolutional")


def check_shape(architecture: str, resolution: int, widths: tuple[int, ...], halvings: int) -> None:
    """Raise ValueError, one sentence, if no network has this shape; dense ones have no sizes to halve."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, not {architecture!r}.")
    if not widths or resolution < 1:
        raise ValueError("widths must not be empty, and resolution must be at least 1.")
    if architecture != "dense" and resolution % 2**halvings:
        raise ValueError(f"resolution {resolution} must be divisible by 2**{halvings}.")


@dataclass(frozen=True, slots=True)
class GeneratorConfig:
    """Everything that fixes the generator's shape; it travels in the header of a weight file."""

    resolution: int = 48  # pixels a side; divisible by 2 ** len(widths), unless dense
    channels: int = 1  # 1 grey, 3 RGB
    emotions: tuple[str, ...] = FER2013  # the vocabulary, in the order of the condition vector
    latent_dim: int = 128  # entries of z
    emotion_dim: int = 64  # entries of the embedded emotion vector
    widths: tuple[int, ...] = (256, 256, 128)  # feature maps at each size, the smallest first; the last at resolution/2
    architecture: str = "residual"  # residual, dense (widths are units of hidden layers) or convolutional
    unconditional_blocks: int = 0  # of the first blocks, steered by the latent alone. Residual only
    acceptance: tuple[int, ...] = ()  # hidden units of what says which latents become people; none: all do

    def __post_init__(self) -> None:
        check_shape(self.architecture, self.resolution, self.widths, halvings=len(self.widths))
        blocks = len(self.widths) - 1 if self.architecture == "residual" else 0
        if not 0 <= self.unconditional_blocks <= blocks:
            raise ValueError(f"unconditional_blocks must be 0 to {blocks}, not {self.unconditional_blocks}.")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}.")
        if len(set(self.emotions)) != len(self.emotions) or not self.emotions:
            raise ValueError("emotions must be distinct and at least one.")


Floats = NDArray[np.float32]


def trial_inputs(config: GeneratorConfig, count: int) -> tuple[Floats, Floats]:
    """Return latents ``[count, latent_dim]`` and emotions ``[count, emotions]`` to try out a way to draw with."""
    random = np.random.default_rng(0)
    latents = random.standard_normal((count, config.latent_dim), np.float32)
    return latents, random.dirichlet(np.ones(len(config.emotions)), count).astype(np.float32)


class AnyGenerator(nn.Module, ABC):
    """What every generator is: its configuration, the way from latents and emotions to faces, and whom it draws."""

    acceptance: Acceptance | None

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.acceptance = Acceptance(config.latent_dim, config.acceptance) if config.acceptance else None

    @abstractmethod
    def forward(self, latent: Tensor, emotion: Tensor) -> Tensor:
        """Draw faces.

        Args:
            latent: float ``[N, latent_dim]``, standard normal. Its dtype is that of the arithmetic.
            emotion: float ``[N, len(emotions)]``, each row sums to 1.

        Returns:
            float ``[N, channels, resolution, resolution]`` in -1..1 (black..white), dtype of ``latent``.
        """


class Generator(AnyGenerator):
    """Residual generator with conditional batch norm (Miyato & Koyama 2018) and a pixel-shuffle head.

    The latent alone draws the coarsest features, and latent and emotion together steer every norm after that: identity
    is the latent's, expression the condition's. The trunk ends at half the resolution, and the head makes each of its
    pixels into 2x2 (Shi et al. 2016), because feature maps at full size cost the most.

    The first ``unconditional_blocks`` blocks can be kept from the emotion, so that what is coarse is learned from all
    faces alike, and rare emotions have it too (Khorram et al. 2024, UTLO). That paper also judges a small
    picture drawn from these blocks without its class; that is left out, because this trunk draws no small pictures.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        self.base = config.resolution // 2 ** len(config.widths)
        free, style_dim = config.unconditional_blocks, config.latent_dim + config.emotion_dim
        first, last = config.widths[0], config.widths[-1]
        # Bias-free, so that a mix of emotions is embedded as the same mix of their embeddings. The gain makes a one-hot
        # vector's embedding as long as a latent of the same size.
        self.embed = Linear(len(config.emotions), config.emotion_dim, bias=False, gain=len(config.emotions) ** 0.5)
        self.dense = Linear(config.latent_dim, first * self.base**2)
        styles = [config.latent_dim if n < free else style_dim for n in range(len(config.widths) - 1)]
        pairs = pairwise(config.widths)
        self.blocks = nn.ModuleList(GeneratorBlock(i, o, dim) for (i, o), dim in zip(pairs, styles, strict=True))
        self.norm = ConditionalBatchNorm2d(last, style_dim)
        self.head = Conv2d(last, 4 * config.channels)

    def forward(self, latent: Tensor, emotion: Tensor) -> Tensor:
        style = torch.cat([latent, self.embed(emotion.to(latent.dtype))], dim=1)
        x = self.dense(latent).unflatten(1, (-1, self.base, self.base))
        x = x.contiguous(memory_format=torch.channels_last)
        for n, block in enumerate(self.blocks):
            x = block(x, latent if n < self.config.unconditional_blocks else style)
        x = self.head(F.relu(self.norm(x, style)))
        return torch.tanh(F.pixel_shuffle(x, 2))

"""The discriminator: a binary real/fake classifier that is told which emotion the face should show."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.emotions import FER2013
from model.layers import Conv2d, DiscriminatorBlock, Linear


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """Everything that fixes the discriminator's shape."""

    resolution: int = 48  # pixels a side; divisible by 2 ** (len(widths) - 1)
    channels: int = 1  # 1 grey, 3 RGB
    emotions: tuple[str, ...] = FER2013  # the vocabulary, in the order of the condition vector
    widths: tuple[int, ...] = (64, 128, 256, 256)  # stem at resolution/2, then blocks; all but the last halve

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or self.resolution % (2 ** (len(self.widths) - 1)):
            raise ValueError(f"resolution {self.resolution} must be divisible by 2**{len(self.widths) - 1}.")


class Discriminator(nn.Module):
    """Residual projection discriminator with spectral norm (Miyato & Koyama 2018, "cGANs with Projection").

    A space-to-depth stem turns 2x2 pixels into channels, so no feature map is as large as the image. A second head
    names the emotion that a face shows; it is trained on real faces and keeps the generator honest about expression
    (Odena et al. 2017, AC-GAN).
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.stem = Conv2d(4 * config.channels, widths[0], spectral=True)
        last = len(widths) - 2
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(DiscriminatorBlock(i, o, down=n < last) for n, (i, o) in enumerate(pairs))
        self.logit = Linear(widths[-1], 1, spectral=True)
        self.project = Linear(len(config.emotions), widths[-1], bias=False, spectral=True)
        self.classify = Linear(widths[-1], len(config.emotions))

    def forward(self, image: Tensor, emotion: Tensor) -> tuple[Tensor, Tensor]:
        """Judge faces.

        Args:
            image: float ``[N, channels, resolution, resolution]`` in -1..1. Its dtype is that of the arithmetic.
            emotion: float ``[N, len(emotions)]``, each row sums to 1.

        Returns:
            float32 logits ``[N]`` (above 0: real) and float32 emotion logits ``[N, len(emotions)]``.
        """
        x = F.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        # Summed, not averaged: with every norm bounded, an average leaves the logits too little range.
        features = F.relu(x).float().sum(dim=(2, 3))
        logit = self.logit(features).squeeze(1) + (self.project(emotion.float()) * features).sum(dim=1)
        return logit, self.classify(features)

    def power_iterate(self) -> None:
        """Refine every spectral norm by one power iteration; call it once before each discriminator step."""
        for module in self.modules():
            if isinstance(module, Conv2d | Linear):
                module.power_iterate()

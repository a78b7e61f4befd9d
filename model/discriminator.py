"""The discriminator: a binary real/fake classifier that is told which emotion the face should show."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.emotions import FER2013
from model.generator import check_shape
from model.layers import Conv2d, DiscriminatorBlock, Linear


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig:
    """Everything that fixes the discriminator's shape."""

    resolution: int = 48  # pixels a side; halved by each width but a residual one's last, unless dense
    channels: int = 1  # 1 grey, 3 RGB
    emotions: tuple[str, ...] = FER2013  # the vocabulary, in the order of the condition vector
    widths: tuple[int, ...] = (64, 128, 256, 256)  # stem at resolution/2, then blocks; all but the last halve
    latent_dim: int = 0  # entries of the latent that a third head recovers; 0: no such head. Residual only
    architecture: str = "residual"  # residual, dense (widths are units of hidden layers) or convolutional
    emotion_dim: int = 64  # entries of the embedded emotion vector. Dense only
    dropout: float = 0.0  # probability that a hidden unit is left out. Dense only
    spectral: bool = True  # spectral norm; without it something else must bound the gradients. Residual only

    def __post_init__(self) -> None:
        halvings = len(self.widths) - (self.architecture == "residual")
        check_shape(self.architecture, self.resolution, self.widths, halvings)
        if self.architecture != "convolutional" and len(self.widths) < 2:
            raise ValueError(f"a {self.architecture} discriminator must have at least two widths.")


class Verdict(NamedTuple):
    """What the discriminator says of N images; all float32."""

    logit: Tensor  # [N]; above 0: real
    emotion: Tensor  # [N, len(emotions)], logits; [N, 0] if it names none
    latent: Tensor  # [N, latent_dim], the latent that a generated image seems to be drawn from


class AnyDiscriminator(nn.Module, ABC):
    """What every discriminator is: its configuration, and a verdict on images that are said to show an emotion."""

    config: DiscriminatorConfig
    apart: ClassVar[bool] = False  # real and generated images must come in batches of their own

    @abstractmethod
    def forward(self, image: Tensor, emotion: Tensor) -> Verdict:
        """Judge faces.

        Args:
            image: float ``[N, channels, resolution, resolution]`` in -1..1. Its dtype is that of the arithmetic.
            emotion: float ``[N, len(emotions)]``, each row sums to 1.

        Returns:
            Its verdict; emotions and latents are ``[N, 0]`` if it has no head for them.
        """


class Discriminator(AnyDiscriminator):
    """Residual projection discriminator, by default with spectral norm (Miyato & Koyama 2018, "cGANs with Projection").

    A space-to-depth stem turns 2x2 pixels into channels, so no feature map is as large as the image. A second head
    names the emotion that a face shows; it is trained on real faces and keeps the generator honest about expression
    (Odena et al. 2017, AC-GAN). A third one tells from a generated face which latent it was drawn from, whatever the
    emotion, and keeps the generator honest about identity (Chen et al. 2016, InfoGAN).
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths, spectral = config.widths, config.spectral
        self.stem = Conv2d(4 * config.channels, widths[0], spectral=spectral)
        last = len(widths) - 2
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(i, o, down=n < last, spectral=spectral) for n, (i, o) in enumerate(pairs)
        )
        self.logit = Linear(widths[-1], 1, spectral=spectral)
        # Without spectral norm the gain counts: an emotion should weigh as much in the logit as the image alone.
        gain = 1.0 if spectral else (len(config.emotions) / widths[-1]) ** 0.5
        self.project = Linear(len(config.emotions), widths[-1], bias=False, spectral=spectral, gain=gain)
        self.classify = Linear(widths[-1], len(config.emotions))
        self.recover = Linear(widths[-1], config.latent_dim) if config.latent_dim else None

    def features(self, image: Tensor) -> Tensor:
        """Return what all heads look at: images as :meth:`forward` takes them -> float32 ``[N, widths[-1]]``."""
        x = F.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = F.relu(x).float()
        # Summed, not averaged: with every norm bounded, an average leaves the logits too little range.
        return x.sum(dim=(2, 3)) if self.config.spectral else x.mean(dim=(2, 3))

    def forward(self, image: Tensor, emotion: Tensor) -> Verdict:
        features = self.features(image)
        logit = self.logit(features).squeeze(1) + (self.project(emotion.float()) * features).sum(dim=1)
        latent = features[:, :0] if self.recover is None else self.recover(features)
        return Verdict(logit, self.classify(features), latent)

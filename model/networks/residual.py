"""The residual networks of the recipe ``hinge``: conditional batch norm, spectral norm, projection."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.networks.base import Discrimination, Discriminator, Generator, scaled
from model.networks.configs import ResidualDiscriminatorConfig, ResidualGeneratorConfig
from model.networks.layers import ConditionalBatchNorm2d, Conv2d, DiscriminatorBlock, GeneratorBlock, Linear


class ResidualGenerator(Generator):
    """Residual generator with conditional batch norm (Miyato & Koyama 2018) and a pixel-shuffle head.

    The latent alone draws the coarsest features, and latent and emotion together steer every norm after that. The trunk
    ends at half the resolution, and the head makes each of its pixels into 2x2 (Shi et al. 2016), because feature maps
    at full size cost the most.
    """

    config: ResidualGeneratorConfig

    def __init__(self, config: ResidualGeneratorConfig) -> None:
        super().__init__(config)
        self.base = config.base_size(len(config.widths))
        style_dim = config.latent_dim + config.emotion_dim
        first, last = config.widths[0], config.widths[-1]
        # Without a bias, so that a mix of emotions is embedded as the same mix of their embeddings. The gain makes a
        # one-hot vector's embedding as long as a latent of the same size.
        self.embed = Linear(len(config.emotions), config.emotion_dim, bias=False, gain=len(config.emotions) ** 0.5)
        self.dense = Linear(config.latent_dim, first * self.base**2)
        self.blocks = nn.ModuleList(GeneratorBlock(i, o, style_dim) for i, o in pairwise(config.widths))
        self.norm = ConditionalBatchNorm2d(last, style_dim)
        self.head = Conv2d(last, 4 * config.channels)

    def forward(self, latent: Tensor, emotion: Tensor, truncation: Tensor | None = None) -> Tensor:
        latent = scaled(latent, truncation)
        style = torch.cat([latent, self.embed(emotion.to(latent.dtype))], dim=1)
        x = self.dense(latent).unflatten(1, (-1, self.base, self.base))
        x = x.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            x = block(x, style)
        x = self.head(F.relu(self.norm(x, style)))
        return torch.tanh(F.pixel_shuffle(x, 2))


class ResidualDiscriminator(Discriminator):
    """Residual projection discriminator, by default with spectral norm (Miyato & Koyama 2018, "cGANs with Projection").

    A space-to-depth stem turns 2x2 pixels into channels, so no feature map is as large as the image. A second head
    names the emotion that a face shows; it is trained on real faces and keeps the generator honest about expression
    (Odena et al. 2017, AC-GAN).
    """

    config: ResidualDiscriminatorConfig

    def __init__(self, config: ResidualDiscriminatorConfig) -> None:
        super().__init__(config)
        widths, spectral = config.widths, config.spectral
        if len(widths) < 2:
            raise ValueError("a residual discriminator must have at least two widths.")
        config.base_size(len(widths) - 1)
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

    def features(self, image: Tensor) -> Tensor:
        """Return what the heads look at: images as :meth:`forward` takes them -> float32 ``[N, widths[-1]]``."""
        x = F.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = F.relu(x).float()
        # Summed, not averaged: with every norm bounded, an average leaves the logits too little range.
        return x.sum(dim=(2, 3)) if self.config.spectral else x.mean(dim=(2, 3))

    def forward(self, image: Tensor, emotion: Tensor) -> Discrimination:
        features = self.features(image)
        logit = self.logit(features).squeeze(1) + (self.project(emotion.float()) * features).sum(dim=1)
        return Discrimination(logit, self.classify(features), features[:, :0])

"""The networks that the field started from: dense layers (2014) and plain convolutions (2016), told an emotion.

They follow their papers, so they are what a course on GANs builds. Every weight is cast to the dtype of its input, as
in :mod:`model.networks.layers`.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.networks.base import Discrimination, Discriminator, Generator, scaled
from model.networks.configs import (
    ConvolutionalDiscriminatorConfig,
    ConvolutionalGeneratorConfig,
    DenseDiscriminatorConfig,
    DenseGeneratorConfig,
)
from model.networks.layers import Linear

_SLOPE = 0.2  # of the leaky ReLU below 0 (Radford et al. 2016, section 3)


class _Halve(nn.Conv2d):
    """Strided convolution: float ``[N, in, H, W]`` -> ``[N, out, H/2, W/2]``."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, self.weight.to(x.dtype), bias, stride=2, padding=1)


class _Double(nn.ConvTranspose2d):
    """Transposed convolution: float ``[N, in, H, W]`` -> ``[N, out, 2H, 2W]``."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv_transpose2d(x, self.weight.to(x.dtype), bias, stride=2, padding=1)


def _embedding(emotions: int, size: int) -> Linear:
    # Bias-free, so that a mix of emotions is embedded as the same mix of their embeddings; the gain makes the entries
    # of a one-hot vector's embedding as large as those of a latent.
    return Linear(emotions, size, bias=False, gain=math.sqrt(emotions))


def _start_small(network: nn.Module) -> None:
    """Draw weights as DCGAN does: normal, 0.02 wide, around 0 or, for the gains of batch norm, around 1."""
    for module in network.modules():
        if isinstance(module, Linear | _Halve | _Double):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


class DenseGenerator(Generator):
    """Noise through dense layers (Goodfellow et al. 2014), told the emotion (Mirza & Osindero 2014, cGAN).

    ``widths`` are the units of the hidden layers. The emotion joins what the first of them makes of the noise, as in
    cGAN: under one batch norm with the noise itself it would outgrow it, and every seed become one person. Batch norm
    and leaky ReLU are what later practice added.
    """

    config: DenseGeneratorConfig

    def __init__(self, config: DenseGeneratorConfig) -> None:
        super().__init__(config)
        self.embed = _embedding(len(config.emotions), config.emotion_dim)
        first, *others = config.widths
        joint = (first + config.emotion_dim, *others)
        self.first = self._layers(config.latent_dim, first)
        self.joint = self._layers(*joint)
        self.head = Linear(joint[-1], config.channels * config.resolution**2)

    @staticmethod
    def _layers(*widths: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            # The norm has a bias of its own.
            layers += [Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.LeakyReLU(_SLOPE)]
        return nn.Sequential(*layers)

    def forward(self, latent: Tensor, emotion: Tensor, truncation: Tensor | None = None) -> Tensor:
        latent = scaled(latent, truncation)
        x = torch.cat([self.first(latent), self.embed(emotion.to(latent.dtype))], dim=1)
        x = self.head(self.joint(x))
        return torch.tanh(x.unflatten(1, (self.config.channels, self.config.resolution, self.config.resolution)))


class DenseDiscriminator(Discriminator):
    """Dense layers on the pixels (Goodfellow et al. 2014), told the emotion (Mirza & Osindero 2014, cGAN).

    ``widths`` are the units of the hidden layers. The emotion joins what the first of them makes of the pixels, as in
    cGAN: among the pixels themselves it would not be heard. Dropout keeps it from learning the data by heart, as in
    both papers.
    """

    config: DenseDiscriminatorConfig

    def __init__(self, config: DenseDiscriminatorConfig) -> None:
        super().__init__(config)
        self.embed = _embedding(len(config.emotions), config.emotion_dim)
        first, *others = config.widths
        self.first = self._layers(config.channels * config.resolution**2, first)
        self.joint = self._layers(first + config.emotion_dim, *others)
        self.logit = Linear(config.widths[-1], 1)

    def forward(self, image: Tensor, emotion: Tensor) -> Discrimination:
        x = torch.cat([self.first(image.flatten(1)), self.embed(emotion.to(image.dtype))], dim=1)
        features = self.joint(x).float()
        return Discrimination(self.logit(features).squeeze(1), features[:, :0], features[:, :0])

    def _layers(self, *widths: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [Linear(inputs, outputs), nn.LeakyReLU(_SLOPE), nn.Dropout(self.config.dropout)]
        return nn.Sequential(*layers)


class ConvolutionalGenerator(Generator):
    """DCGAN's generator (Radford et al. 2016, figure 1): transposed convolutions, batch norm, ReLU, tanh.

    ``widths`` are the feature maps at each size below the image's, the smallest size first. The emotion is embedded as
    ``emotion_dim`` maps beside the noise's first ones (Mirza & Osindero 2014), behind their batch norm: under it, the
    emotion would outgrow the noise, and every seed become one person.
    """

    config: ConvolutionalGeneratorConfig

    def __init__(self, config: ConvolutionalGeneratorConfig) -> None:
        super().__init__(config)
        widths = config.widths
        self.base = config.base_size(len(widths))
        self.first = Linear(config.latent_dim, widths[0] * self.base**2, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        joint = (widths[0] + config.emotion_dim, *widths[1:])
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(joint):
            layers += [_Double(inputs, outputs, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.joint = nn.Sequential(*layers)
        self.head = _Double(joint[-1], config.channels, bias=True)
        _start_small(self)
        self.embed = _embedding(len(config.emotions), config.emotion_dim * self.base**2)

    def forward(self, latent: Tensor, emotion: Tensor, truncation: Tensor | None = None) -> Tensor:
        latent = scaled(latent, truncation)
        noise = F.relu(self.norm(self._maps(self.first(latent))))
        x = torch.cat([noise, self._maps(self.embed(emotion.to(latent.dtype)))], dim=1)
        image: Tensor = torch.tanh(self.head(self.joint(x)))
        return image

    def _maps(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], -1, self.base, self.base).contiguous(memory_format=torch.channels_last)


class ConvolutionalDiscriminator(Discriminator):
    """DCGAN's discriminator (Radford et al. 2016): strided convolutions, batch norm but in the first, leaky ReLU.

    ``widths`` are the feature maps at each size below the image's, the largest size first. The emotion is projected
    onto the features (Miyato & Koyama 2018). Batch norm keeps no running statistics, because nobody asks a
    discriminator about one image alone, and it sees real and generated images apart: in one batch, their difference
    would be part of what they are normalised by.
    """

    separate_batches = True

    config: ConvolutionalDiscriminatorConfig

    def __init__(self, config: ConvolutionalDiscriminatorConfig) -> None:
        super().__init__(config)
        layers: list[nn.Module] = [_Halve(config.channels, config.widths[0], bias=True), nn.LeakyReLU(_SLOPE)]
        for inputs, outputs in pairwise(config.widths):
            norm = nn.BatchNorm2d(outputs, track_running_stats=False)
            layers += [_Halve(inputs, outputs, bias=False), norm, nn.LeakyReLU(_SLOPE)]
        self.blocks = nn.Sequential(*layers)
        features = config.widths[-1] * config.base_size(len(config.widths)) ** 2
        self.logit = Linear(features, 1)
        self.project = Linear(len(config.emotions), features, bias=False)
        _start_small(self)

    def forward(self, image: Tensor, emotion: Tensor) -> Discrimination:
        x = image.contiguous(memory_format=torch.channels_last)
        features = self.blocks(x).flatten(1).float()
        logit = self.logit(features).squeeze(1) + (self.project(emotion.float()) * features).sum(dim=1)
        return Discrimination(logit, features[:, :0], features[:, :0])

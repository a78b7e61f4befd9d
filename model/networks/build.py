"""From a configuration to its network. Training and the reader of weight files both build here."""

from __future__ import annotations

from typing import Any

from model.networks.base import Discriminator, Generator
from model.networks.classic import (
    ConvolutionalDiscriminator,
    ConvolutionalGenerator,
    DenseDiscriminator,
    DenseGenerator,
)
from model.networks.configs import DiscriminatorConfig, GeneratorConfig
from model.networks.residual import ResidualDiscriminator, ResidualGenerator
from model.networks.style import StyleDiscriminator, StyleGenerator

_GENERATORS: dict[str, Any] = {
    "style": StyleGenerator,
    "residual": ResidualGenerator,
    "dense": DenseGenerator,
    "convolutional": ConvolutionalGenerator,
}
_DISCRIMINATORS: dict[str, Any] = {
    "style": StyleDiscriminator,
    "residual": ResidualDiscriminator,
    "dense": DenseDiscriminator,
    "convolutional": ConvolutionalDiscriminator,
}


def build_generator(config: GeneratorConfig) -> Generator:
    """Return a new generator of ``config.architecture``, its weights drawn from torch's random numbers.

    Raises:
        ValueError: no such network has this shape.
    """
    generator: Generator = _GENERATORS[config.architecture](config)
    return generator


def build_discriminator(config: DiscriminatorConfig) -> Discriminator:
    """Return a new discriminator of ``config.architecture``; otherwise as :func:`build_generator`."""
    discriminator: Discriminator = _DISCRIMINATORS[config.architecture](config)
    return discriminator

"""From a configuration to its network. Training and the reader of weight files both build here."""

from __future__ import annotations

from dataclasses import replace

from model.classic import ConvolutionalDiscriminator, ConvolutionalGenerator, DenseDiscriminator, DenseGenerator
from model.discriminator import AnyDiscriminator, Discriminator, DiscriminatorConfig
from model.generator import AnyGenerator, Generator, GeneratorConfig

_GENERATORS: dict[str, type[AnyGenerator]] = {
    "residual": Generator,
    "dense": DenseGenerator,
    "convolutional": ConvolutionalGenerator,
}
_DISCRIMINATORS: dict[str, type[AnyDiscriminator]] = {
    "residual": Discriminator,
    "dense": DenseDiscriminator,
    "convolutional": ConvolutionalDiscriminator,
}


def build_generator(config: GeneratorConfig) -> AnyGenerator:
    """Return a new generator of ``config.architecture``, its weights drawn from torch's random numbers."""
    return _GENERATORS[config.architecture](config)


def accepting_all(generator: AnyGenerator) -> AnyGenerator:
    """Return a copy of ``generator`` whose every latent is a person: who is one is found for weights that are done."""
    plain = build_generator(replace(generator.config, acceptance=()))
    plain.load_state_dict({k: v for k, v in generator.state_dict().items() if not k.startswith("acceptance.")})
    return plain.eval()


def build_discriminator(config: DiscriminatorConfig) -> AnyDiscriminator:
    """Return a new discriminator of ``config.architecture``, its weights drawn from torch's random numbers."""
    return _DISCRIMINATORS[config.architecture](config)

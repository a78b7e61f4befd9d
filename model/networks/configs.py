"""What fixes the shape of each network: one frozen dataclass per architecture. Needs no torch.

A generator's configuration travels in the header of a weight file, so a reader knows from it alone which tensors to
expect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final

from model.emotions import FER2013

#: The largest size that a configuration may name: a header must not make its reader count for ever.
MOST: Final = 2**16


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """What every network's configuration has. Sizes are checked here; :meth:`base_size` checks that they fit."""

    architecture: ClassVar[str]

    resolution: int = 48  # pixels a side
    channels: int = 1  # 1 grey, 3 RGB
    emotions: tuple[str, ...] = FER2013  # the vocabulary, in the order of the condition vector
    widths: tuple[int, ...] = ()  # feature maps of each stage; what a stage is depends on the architecture

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}.")
        if not self.emotions or len(set(self.emotions)) != len(self.emotions):
            raise ValueError("emotions must be distinct and at least one.")
        if not self.widths:
            raise ValueError("widths must not be empty.")
        for item in fields(self):
            value = getattr(self, item.name)
            for number in value if isinstance(value, tuple) else (value,):
                if type(number) is int and not 1 <= number <= MOST:
                    raise ValueError(f"{item.name} must be from 1 to {MOST}, not {number}.")

    def base_size(self, halvings: int) -> int:
        """Return the resolution after ``halvings`` halvings.

        Raises:
            ValueError: the resolution cannot be halved that often.
        """
        if self.resolution % 2**halvings:
            raise ValueError(f"resolution {self.resolution} must be divisible by 2**{halvings}.")
        return self.resolution // int(2**halvings)


@dataclass(frozen=True, slots=True)
class GeneratorConfig(NetworkConfig):
    """What every generator's configuration has."""

    latent_dim: int = 128  # entries of the latent z


@dataclass(frozen=True, slots=True)
class StyleGeneratorConfig(GeneratorConfig):
    """A style-based generator (:class:`model.networks.style.StyleGenerator`)."""

    architecture: ClassVar[str] = "style"

    widths: tuple[int, ...] = (256, 256, 128, 64)  # feature maps at each size, the smallest size first
    w_dim: int = 256  # entries of the intermediate latent w
    mapping_layers: int = 2  # dense layers from z to w
    emotion_dim: int = 64  # entries of the embedded emotion vector

    def sizes(self) -> tuple[int, ...]:
        """Return the side of the feature maps of each of ``widths``, in pixels.

        Raises:
            ValueError: the resolution is not 1 or 3 times a power of two, or is too small for so many widths.
        """
        odd = self.resolution
        while odd % 2 == 0:
            odd //= 2
        if odd not in (1, 3):
            raise ValueError(f"resolution {self.resolution} must be 1 or 3 times a power of two.")
        base = self.base_size(len(self.widths) - 1)
        return tuple(base * 2**n for n in range(len(self.widths)))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the name and the shape of every tensor of such a generator, as weight files hold them."""
        sizes, widths = self.sizes(), self.widths
        shapes: dict[str, tuple[int, ...]] = {
            "constant": (1, widths[0], sizes[0], sizes[0]),
            "embed.weight": (self.emotion_dim, len(self.emotions)),
            "w_average": (self.w_dim,),
        }
        for n in range(self.mapping_layers):
            shapes[f"mapping.{n}.weight"] = (self.w_dim, self.latent_dim if n == 0 else self.w_dim)
            shapes[f"mapping.{n}.bias"] = (self.w_dim,)
        for size, inputs, outputs in zip(sizes, (widths[0], *widths), widths, strict=False):
            layers = {"conv": (outputs, outputs, 3, 3), "to_image": (self.channels, outputs, 1, 1)}
            if size > sizes[0]:
                layers["up"] = (outputs, inputs, 3, 3)
            for layer, shape in layers.items():
                name = f"synthesis.{size}.{layer}"
                shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
                shapes[f"{name}.style_latent.weight"] = (shape[1], self.w_dim)
                shapes[f"{name}.style_latent.bias"] = (shape[1],)
                shapes[f"{name}.style_emotion.weight"] = (shape[1], self.emotion_dim)
        return shapes


@dataclass(frozen=True, slots=True)
class ResidualGeneratorConfig(GeneratorConfig):
    """A residual generator (:class:`model.networks.residual.ResidualGenerator`)."""

    architecture: ClassVar[str] = "residual"

    widths: tuple[int, ...] = (256, 256, 128)  # feature maps at each size, the smallest first; the last at resolution/2
    emotion_dim: int = 64  # entries of the embedded emotion vector


@dataclass(frozen=True, slots=True)
class ConvolutionalGeneratorConfig(GeneratorConfig):
    """DCGAN's generator (:class:`model.networks.classic.ConvolutionalGenerator`)."""

    architecture: ClassVar[str] = "convolutional"

    widths: tuple[int, ...] = (128, 64, 32)  # feature maps at each size below the image's, the smallest size first
    emotion_dim: int = 64  # feature maps that the emotion is embedded as


@dataclass(frozen=True, slots=True)
class DenseGeneratorConfig(GeneratorConfig):
    """Dense layers (:class:`model.networks.classic.DenseGenerator`)."""

    architecture: ClassVar[str] = "dense"

    widths: tuple[int, ...] = (256, 512)  # units of the hidden layers
    emotion_dim: int = 64  # entries of the embedded emotion vector


@dataclass(frozen=True, slots=True)
class DiscriminatorConfig(NetworkConfig):
    """What every discriminator's configuration has."""


@dataclass(frozen=True, slots=True)
class StyleDiscriminatorConfig(DiscriminatorConfig):
    """A residual discriminator without normalisation (:class:`model.networks.style.StyleDiscriminator`)."""

    architecture: ClassVar[str] = "style"

    widths: tuple[int, ...] = (64, 128, 256, 512)  # feature maps at each size, the largest size first
    projection_dim: int = 128  # entries of the vectors whose product tells whether image and emotion fit
    identity_dim: int = 128  # entries of the identity embedding


@dataclass(frozen=True, slots=True)
class ResidualDiscriminatorConfig(DiscriminatorConfig):
    """A residual projection discriminator (:class:`model.networks.residual.ResidualDiscriminator`)."""

    architecture: ClassVar[str] = "residual"

    widths: tuple[int, ...] = (64, 128, 256, 256)  # stem at resolution/2, then blocks; all but the last halve
    spectral: bool = True  # spectral norm; without it the loss needs a gradient penalty


@dataclass(frozen=True, slots=True)
class ConvolutionalDiscriminatorConfig(DiscriminatorConfig):
    """DCGAN's discriminator (:class:`model.networks.classic.ConvolutionalDiscriminator`)."""

    architecture: ClassVar[str] = "convolutional"

    widths: tuple[int, ...] = (16, 32, 64)  # feature maps at each size below the image's, the largest size first


@dataclass(frozen=True, slots=True)
class DenseDiscriminatorConfig(DiscriminatorConfig):
    """Dense layers on the pixels (:class:`model.networks.classic.DenseDiscriminator`)."""

    architecture: ClassVar[str] = "dense"

    widths: tuple[int, ...] = (512, 256)  # units of the hidden layers
    emotion_dim: int = 64  # entries of the embedded emotion vector
    dropout: float = 0.0  # probability that a hidden unit is left out, 0 to below 1

    def __post_init__(self) -> None:
        NetworkConfig.__post_init__(self)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be from 0 to below 1, not {self.dropout}.")


GENERATORS: Final[Mapping[str, type[GeneratorConfig]]] = {
    config.architecture: config
    for config in (StyleGeneratorConfig, ResidualGeneratorConfig, ConvolutionalGeneratorConfig, DenseGeneratorConfig)
}
DISCRIMINATORS: Final[Mapping[str, type[DiscriminatorConfig]]] = {
    config.architecture: config
    for config in (
        StyleDiscriminatorConfig,
        ResidualDiscriminatorConfig,
        ConvolutionalDiscriminatorConfig,
        DenseDiscriminatorConfig,
    )
}


def config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Return a configuration as a JSON-able dictionary, its ``architecture`` included."""
    return {"architecture": config.architecture, **asdict(config)}


def generator_config(table: Mapping[str, Any]) -> GeneratorConfig:
    """Build a generator's configuration from what :func:`config_to_dict` returns, also after a way through JSON.

    Raises:
        ValueError: the architecture or a setting is unknown, or a value has the wrong type or range; one sentence.
    """
    config: GeneratorConfig = _build(GENERATORS, table)
    return config


def discriminator_config(table: Mapping[str, Any]) -> DiscriminatorConfig:
    """Build a discriminator's configuration; otherwise as :func:`generator_config`."""
    config: DiscriminatorConfig = _build(DISCRIMINATORS, table)
    return config


def _build(registry: Mapping[str, type[Any]], table: Mapping[str, Any]) -> Any:
    settings = dict(table)
    architecture = settings.pop("architecture", None)
    if architecture not in registry:
        raise ValueError(f"architecture must be one of {', '.join(registry)}, not {architecture!r}.")
    cls = registry[architecture]
    defaults = {item.name: getattr(cls(), item.name) for item in fields(cls)}
    for name, value in settings.items():
        if name not in defaults:
            raise ValueError(f"{name} is not a setting of {architecture}; known: {', '.join(defaults)}.")
        settings[name] = _typed(name, value, defaults[name])
    return cls(**settings)


def _typed(name: str, value: Any, default: Any) -> Any:
    """Return ``value`` in the type of ``default``; lists become tuples and whole numbers floats where asked for."""
    if isinstance(default, tuple):
        entry = type(default[0])
        if not isinstance(value, list | tuple) or not all(type(part) is entry for part in value):
            raise ValueError(f"{name} must be a list of {entry.__name__}, not {value!r}.")
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{name} must be of type {type(default).__name__}, not {value!r}.")
    return value

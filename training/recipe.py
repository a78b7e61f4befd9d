"""A recipe is data: one TOML file is one frozen dataclass, and a key that the dataclass lacks is refused."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

from model.networks.configs import (
    DiscriminatorConfig,
    GeneratorConfig,
    NetworkConfig,
    StyleDiscriminatorConfig,
    StyleGeneratorConfig,
    config_to_dict,
    discriminator_config,
    generator_config,
)

#: Adversarial losses; see training/losses.py.
KINDS: Final = ("bce", "hinge")
#: Where labels for training come from.
LABELS: Final = ("votes", "packed")
#: What a network's configuration takes from the data.
_OF_DATA: Final = ("resolution", "channels", "emotions")


class RecipeError(ValueError):
    """A recipe that cannot be used; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class GeneratorRecipe:
    """Shape and optimiser of the generator."""

    network: GeneratorConfig = field(default_factory=StyleGeneratorConfig)  # see model/networks/configs.py
    lr: float = 2e-3  # Adam's learning rate
    betas: tuple[float, float] = (0.0, 0.99)  # Adam's decay rates


@dataclass(frozen=True, slots=True)
class DiscriminatorRecipe:
    """Shape and optimiser of the discriminator."""

    network: DiscriminatorConfig = field(default_factory=StyleDiscriminatorConfig)
    lr: float = 2e-3
    betas: tuple[float, float] = (0.0, 0.99)


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """Losses and their weights. A weight of 0 turns a term off."""

    kind: str = "bce"  # bce (Goodfellow et al. 2014, non-saturating) or hinge (Lim & Ye 2017)
    classify_real: float = 0.3  # of the discriminator's cross-entropy on the emotions of real faces
    classify_fake: float = 0.15  # of the generator's divergence from the emotions that were asked for
    classify_slack: float = 0.3  # nats of that divergence that cost nothing: real faces are ambiguous too
    identity: float = 0.2  # of the InfoNCE loss that one latent is one person in two emotions, in both networks
    identity_temperature: float = 0.15  # of that loss
    r1: float = 0.02  # gamma of the gradient penalty on real images (Mescheder et al. 2018)
    r1_every: int = 16  # steps from one penalty to the next, which is as many times as strong (StyleGAN2, section 3.1)


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """Labels, and how often each image is drawn. See training/vote_labels.py."""

    labels: str = "votes"  # votes (made from the raw votes, where the data set has them) or packed (those of the file)
    rarity: float = 0.5  # an image's weight is frequency(its emotion) ** -rarity ...
    agreement: float = 2.0  # ... times (share of the votes for that emotion) ** agreement
    hard_labels: float = 0.8  # probability that a label is told as its largest emotion alone
    flip: bool = True  # mirror half of the images


@dataclass(frozen=True, slots=True)
class AugmentRecipe:
    """Adaptive augmentation of what the discriminator sees (Karras et al. 2020, ADA, section 3)."""

    target: float = 0.6  # mean sign of the logits on real images that the probability is steered towards; 0: none
    speed_kimg: float = 200.0  # thousand images in which the probability can go from 0 to 1
    maximum: float = 0.6  # of the probability


@dataclass(frozen=True, slots=True)
class ScheduleRecipe:
    """All of it is driven by one counter, the number of real images seen."""

    total_kimg: float = 2500.0  # thousand images to train for
    batch: int = 128  # real images a step
    rampup_kimg: float = 20.0  # the learning rates rise linearly from 0 until here
    decay_from_kimg: float = 1500.0  # they fall, along half a cosine, from here ...
    decay_to: float = 0.05  # ... to this fraction at total_kimg
    ema_halflife_kimg: float = 60.0  # half-life of the averaged generator; 0: no averaging
    ema_rampup: float = 0.05  # but at most this fraction of the images seen; 0: no limit
    snapshot_kimg: float = 100.0  # write a snapshot and a sample grid this often
    tick_kimg: float = 10.0  # write a line of statistics this often


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run besides its data."""

    name: str = "fer48"
    seed: int = 0
    precision: str = "bfloat16"  # of the arithmetic, where the hardware has it; weights stay float32. Or float32
    compile: bool = False  # torch.compile both networks on a GPU
    generator: GeneratorRecipe = field(default_factory=GeneratorRecipe)
    discriminator: DiscriminatorRecipe = field(default_factory=DiscriminatorRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.name):
            raise RecipeError("name must be 1 to 64 letters, digits, '_', '.' or '-': files are called so.")
        for where, value, known in (
            ("precision", self.precision, ("bfloat16", "float32")),
            ("loss.kind", self.loss.kind, KINDS),
            ("data.labels", self.data.labels, LABELS),
        ):
            if value not in known:
                raise RecipeError(f"{where} must be one of {', '.join(known)}, not {value!r}.")
        for where, number in _numbers(self):
            if not math.isfinite(number) or number < 0 or (number == 0 and where in _ABOVE_0):
                raise RecipeError(f"{where} must be {'above 0' if where in _ABOVE_0 else '0 or above'}, not {number}.")
        for where, fraction in (("data.hard_labels", self.data.hard_labels), ("augment.maximum", self.augment.maximum)):
            if fraction > 1:
                raise RecipeError(f"{where} must be from 0 to 1, not {fraction}.")
        for betas in (self.generator.betas, self.discriminator.betas):
            if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
                raise RecipeError("betas must be two numbers from 0 to below 1.")
        if self.schedule.batch < 2 or (self.loss.identity and self.schedule.batch % 2):
            raise RecipeError("schedule.batch must be at least 2, and even where loss.identity pairs the latents.")
        self._check_losses()

    def _check_losses(self) -> None:
        """Refuse a term of the loss that this discriminator has no head for."""
        kind = self.discriminator.network.architecture
        for name, having in (
            ("classify_real", ("style", "residual")),
            ("classify_fake", ("style", "residual")),
            ("identity", ("style",)),
            # Batch norm makes each logit depend on every image, so no image has a gradient of its own (WGAN-GP 2017).
            ("r1", ("style", "residual", "dense")),
        ):
            if getattr(self.loss, name) and kind not in having:
                raise RecipeError(f"loss.{name} must be 0: a {kind} discriminator does not offer it.")

    def generator_config(self, resolution: int, channels: int, emotions: tuple[str, ...]) -> GeneratorConfig:
        """Return the generator's shape for data of this resolution, number of channels and vocabulary."""
        return replace(self.generator.network, resolution=resolution, channels=channels, emotions=emotions)

    def discriminator_config(self, resolution: int, channels: int, emotions: tuple[str, ...]) -> DiscriminatorConfig:
        """Return the discriminator's shape for data of this resolution, number of channels and vocabulary."""
        return replace(self.discriminator.network, resolution=resolution, channels=channels, emotions=emotions)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-able nested dictionaries."""
        return _to_dict(self)


_ABOVE_0: Final = frozenset(
    {
        "generator.lr",
        "discriminator.lr",
        "loss.identity_temperature",
        "loss.r1_every",
        "augment.speed_kimg",
        "schedule.total_kimg",
        "schedule.snapshot_kimg",
        "schedule.tick_kimg",
    }
)


def _to_dict(part: Any) -> dict[str, Any]:
    if isinstance(part, NetworkConfig):
        return {key: value for key, value in config_to_dict(part).items() if key not in _OF_DATA}
    values = {item.name: getattr(part, item.name) for item in fields(part)}
    return {name: _to_dict(value) if is_dataclass(value) else value for name, value in values.items()}


def _numbers(part: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a recipe but those of its networks, which check their own."""
    for item in fields(part):
        value = getattr(part, item.name)
        if is_dataclass(value) and not isinstance(value, NetworkConfig):
            yield from _numbers(value, f"{prefix}{item.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{item.name}", value


def _network(default: NetworkConfig, table: dict[str, Any], where: str) -> NetworkConfig:
    for key in _OF_DATA:
        if key in table:
            raise RecipeError(f"{where}{key} is not a setting: the data set decides it.")
    build = generator_config if isinstance(default, GeneratorConfig) else discriminator_config
    try:
        return build({"architecture": default.architecture, **table})
    except ValueError as error:
        raise RecipeError(f"{where[:-1]}: {error}") from error


def _build(cls: type[Any], table: dict[str, Any], where: str) -> Any:
    known = {item.name: item for item in fields(cls)}
    default = cls()
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise RecipeError(f"{where}{key} is not a setting; known here: {', '.join(known)}.")
        old = getattr(default, key)
        if is_dataclass(old):
            if not isinstance(value, dict):
                raise RecipeError(f"{where}{key} must be a table.")
            make = _network if isinstance(old, NetworkConfig) else _build
            values[key] = make(old if isinstance(old, NetworkConfig) else type(old), value, f"{where}{key}.")  # type: ignore[arg-type]
        elif isinstance(old, tuple) and isinstance(value, list | tuple):
            values[key] = tuple(value)
        elif isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
            values[key] = float(value)
        elif type(value) is type(old):
            values[key] = value
        else:
            raise RecipeError(f"{where}{key} must be of type {type(old).__name__}, not {type(value).__name__}.")
    return cls(**values)


def recipe_from_dict(table: dict[str, Any]) -> Recipe:
    """Build a recipe from nested dictionaries, as :meth:`Recipe.to_dict` returns them.

    Raises:
        RecipeError: a key is unknown, a value has the wrong type or is out of range.
    """
    recipe: Recipe = _build(Recipe, table, "")
    return recipe


def load_recipe(recipe: str | Path) -> Recipe:
    """Load a recipe by the name of one that ships (``fer48``) or by the path of a TOML file.

    Raises:
        RecipeError: there is no such recipe, or the file is not a recipe.
    """
    path = Path(recipe)
    shipped = Path(__file__).parent / "recipes"
    if path.suffix != ".toml":
        path = shipped / f"{recipe}.toml"
    if not path.is_file():
        names = ", ".join(sorted(item.stem for item in shipped.glob("*.toml")))
        raise RecipeError(f"there is no recipe {str(recipe)!r}; name a .toml file or one of: {names}.")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.") from error
    return recipe_from_dict({"name": path.stem, **table})

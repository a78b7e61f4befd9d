"""A recipe is data: one TOML file is one frozen dataclass, and a key that the dataclass lacks is refused."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from model.discriminator import DiscriminatorConfig
from model.generator import ARCHITECTURES, GeneratorConfig

#: Adversarial losses; see training/losses.py.
KINDS: Final = ("hinge", "bce", "relativistic")


class RecipeError(ValueError):
    """A recipe that cannot be used; its text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class GeneratorRecipe:
    """Shape and optimiser of the generator; resolution, channels and emotions come from the data."""

    architecture: str = "residual"  # residual, dense (Goodfellow et al. 2014) or convolutional (DCGAN, 2016)
    latent_dim: int = 128  # entries of z
    emotion_dim: int = 64  # entries of the embedded emotion vector
    widths: tuple[int, ...] = (256, 256, 128)  # feature maps at each size, the smallest first; dense: hidden units
    lr: float = 3e-4  # Adam's step
    betas: tuple[float, float] = (0.0, 0.99)  # Adam's decays


@dataclass(frozen=True, slots=True)
class DiscriminatorRecipe:
    """Shape and optimiser of the discriminator."""

    architecture: str = "residual"  # residual, dense or convolutional
    widths: tuple[int, ...] = (64, 128, 256, 256)  # stem at half the resolution, then blocks; dense: hidden units
    emotion_dim: int = 64  # entries of the embedded emotion vector; dense only, the others project it
    dropout: float = 0.0  # probability that a hidden unit is left out, 0 to below 1; dense only
    spectral: bool = True  # spectral norm; without it the loss needs a gradient penalty. Residual only
    lr: float = 6e-4  # Adam's step; twice the generator's (Heusel et al. 2017, TTUR)
    betas: tuple[float, float] = (0.0, 0.99)  # Adam's decays


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """What the two networks are trained towards.

    ``classify_real`` and ``classify_fake`` need a residual discriminator, which has the emotion head; ``r1`` and ``r2``
    need one without batch norm.
    """

    kind: str = "hinge"  # hinge (Lim & Ye 2017), bce (Goodfellow 2014, non-saturating) or relativistic (R3GAN 2024)
    classify_real: float = 1.0  # weight of "name the emotion of a real face" in the discriminator's loss
    classify_fake: float = 0.1  # weight of "show the emotion that was asked for" in the generator's loss
    r1: float = 0.0  # gamma of the gradient penalty on real images (Mescheder et al. 2018); 0: none
    r2: float = 0.0  # gamma of the gradient penalty on generated images; 0: none
    penalty_every: int = 1  # steps from one penalty to the next, which weighs as much more (StyleGAN2: 16)
    penalty_to: float = 1.0  # both gammas move linearly to this fraction at total_kimg


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """How images and their labels are drawn."""

    balance: float = 0.5  # an emotion of n images is drawn as n ** (1 - balance): 0 as it comes, 1 all equal
    hard_labels: float = 0.5  # probability that a soft label is drawn as its largest emotion alone
    flip: bool = True  # mirror half of the images


@dataclass(frozen=True, slots=True)
class AugmentRecipe:
    """Augmentation of what the discriminator sees: adaptive (Karras et al. 2020, section 3), by plan, or constant."""

    target: float = 0.6  # the mean sign of the logits on real faces to steer towards; 0 turns it off
    ramp_kimg: float = 0.0  # with target 0, p goes linearly from minimum to maximum until here; 0: it stays at minimum
    speed_kimg: float = 100.0  # thousand images in which the probability can go from 0 to 1
    minimum: float = 0.0  # bounds on the probability
    maximum: float = 0.6


@dataclass(frozen=True, slots=True)
class ScheduleRecipe:
    """All of it is driven by one counter, the number of real images seen."""

    total_kimg: float = 1000.0  # thousand images to train for
    warmup_kimg: float = 0.0  # until here only the discriminator learns: for a generator that starts without its own
    batch: int = 64  # real images a step
    ema_halflife_kimg: float = 10.0  # half-life of the averaged generator; 0: no averaging, as the field began
    ema_rampup: float = 0.05  # but at most this fraction of the images seen
    decay_from_kimg: float = 500.0  # the learning rates fall linearly from here ...
    decay_to: float = 0.1  # ... to this fraction at total_kimg
    snapshot_kimg: float = 50.0  # write a snapshot and a sample grid this often
    tick_kimg: float = 5.0  # write a line of statistics this often


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run besides its data."""

    name: str = "fer48"
    seed: int = 0
    precision: str = "bfloat16"  # arithmetic of all networks: bfloat16 or float32; weights stay float32
    compile: bool = False  # torch.compile both networks
    generator: GeneratorRecipe = field(default_factory=GeneratorRecipe)
    discriminator: DiscriminatorRecipe = field(default_factory=DiscriminatorRecipe)
    loss: LossRecipe = field(default_factory=LossRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.name):
            raise RecipeError("name must be 1 to 64 letters, digits, '_', '.' or '-': files are called so.")
        if self.precision not in ("bfloat16", "float32"):
            raise RecipeError(f"precision must be 'bfloat16' or 'float32', not {self.precision!r}.")
        if self.loss.kind not in KINDS:
            raise RecipeError(f"loss.kind must be one of {', '.join(KINDS)}, not {self.loss.kind!r}.")
        self._check_losses()
        if self.discriminator.dropout >= 1:
            raise RecipeError(f"discriminator.dropout must be below 1, not {self.discriminator.dropout}.")
        if self.schedule.batch < 2:
            raise RecipeError("schedule.batch must be at least 2.")
        for where, value in _numbers(self):
            if not math.isfinite(value) or value < 0 or (value == 0 and where not in _MAY_BE_0):
                raise RecipeError(f"{where} must be {'0 or ' if where in _MAY_BE_0 else ''}above 0, not {value}.")
        for trained in ("generator", "discriminator"):
            betas = getattr(self, trained).betas
            if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
                raise RecipeError(f"{trained}.betas must be two numbers from 0 to below 1.")
        for network in ("generator", "discriminator"):
            part = getattr(self, network)
            if part.architecture not in ARCHITECTURES:
                known = ", ".join(ARCHITECTURES)
                raise RecipeError(f"{network}.architecture must be one of {known}, not {part.architecture!r}.")
            if not part.widths or not all(type(width) is int and width > 0 for width in part.widths):
                raise RecipeError(f"{network}.widths must be whole numbers above 0.")
        if self.augment.ramp_kimg and self.augment.target:
            raise RecipeError("augment.ramp_kimg needs augment.target = 0: augmentation is steered, or goes by plan.")

    def _check_losses(self) -> None:
        """Refuse a part of the loss that this discriminator has nothing for, or that would do nothing."""
        kind = self.discriminator.architecture
        if kind != "residual":
            for name in ("classify_real", "classify_fake"):
                if getattr(self.loss, name):
                    raise RecipeError(f"loss.{name} must be 0: a {kind} discriminator only tells real from generated.")
        for name in ("r1", "r2"):
            # Batch norm makes each logit depend on every image, so there is no gradient of one image's (WGAN-GP 2017).
            if kind == "convolutional" and getattr(self.loss, name):
                raise RecipeError(f"loss.{name} must be 0: a {kind} discriminator has batch norm, which mixes images.")

    def generator_config(self, resolution: int, channels: int, emotions: tuple[str, ...]) -> GeneratorConfig:
        """Return the generator's shape for data of this resolution, number of channels and vocabulary."""
        own = self.generator
        shape = (own.latent_dim, own.emotion_dim, own.widths, own.architecture)
        return GeneratorConfig(resolution, channels, emotions, *shape)

    def discriminator_config(self, resolution: int, channels: int, emotions: tuple[str, ...]) -> DiscriminatorConfig:
        """Return the discriminator's shape for data of this resolution, number of channels and vocabulary."""
        own = self.discriminator
        return DiscriminatorConfig(
            resolution,
            channels,
            emotions,
            own.widths,
            architecture=own.architecture,
            emotion_dim=own.emotion_dim,
            dropout=own.dropout,
            spectral=own.spectral,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-able nested dictionaries."""
        return asdict(self)


_MAY_BE_0: Final = frozenset(
    {
        "seed",
        "discriminator.dropout",
        "loss.classify_real",
        "loss.classify_fake",
        "loss.r1",
        "loss.r2",
        "loss.penalty_to",
        "data.balance",
        "data.hard_labels",
        "augment.target",
        "augment.ramp_kimg",
        "augment.minimum",
        "augment.maximum",
        "schedule.warmup_kimg",
        "schedule.ema_halflife_kimg",
        "schedule.decay_from_kimg",
        "schedule.decay_to",
    }
)


def _numbers(part: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Give every single number of a recipe with its dotted name."""
    for item in fields(part):
        value = getattr(part, item.name)
        if is_dataclass(value):
            yield from _numbers(value, f"{prefix}{item.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{item.name}", value


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
            values[key] = _build(type(old), value, f"{where}{key}.")
        elif isinstance(old, tuple) and isinstance(value, list):
            values[key] = tuple(value)
        elif isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
            values[key] = float(value)
        elif type(value) is type(old):
            values[key] = value
        else:
            raise RecipeError(f"{where}{key} must be of type {type(old).__name__}, not {type(value).__name__}.")
    return cls(**values)


def recipe_from_dict(table: dict[str, Any]) -> Recipe:
    """Build a recipe from nested dictionaries, as :meth:`Recipe.to_dict` gives them.

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

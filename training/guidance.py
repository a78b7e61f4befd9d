"""Guides: frozen classifiers of faces that teach a generator what a discriminator of its own would learn too slowly.

A guide is a judge that is never used for judging. Its feature maps tell faces apart as people and emotions do, and
four things are taken from them:

- *critics*, small discriminators on the maps of every size, which learn in minutes what a discriminator on pixels needs
  hours for (Sauer et al. 2021, "Projected GANs Converge Faster", section 3);
- *moments*: mean and covariance should be those of real faces (:mod:`training.moments`): of all guides' features
  together, half of what counts, and of what their other maps are like on the whole, and of the pixels;
- *emotion*: the guide should name the emotion that was asked for, though no surer of it than the recipe wants; rare
  emotions may count for more, for guides know them worst;
- *identity*: one seed should have the attributes of one person in every emotion. Seeds come in pairs then, and a face
  must be told from all others of its batch by the attributes of its pair (van den Oord et al. 2018, InfoNCE).

Guides see faces through an augmentation of their own, so that no pixel pattern that only they understand pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import Conv2d, Linear
from training.augment import augment
from training.batches import Batch
from training.data.packed import PackedDataset
from training.distributed import ALONE, World
from training.judge import Judge, JudgeNetwork, shipped
from training.losses import discriminator_loss, divergence, generator_loss
from training.moments import Moments
from training.recipe import GuideRecipe

_HIDDEN: Final = 64  # feature maps of a critic
_LARGEST: Final = 12  # a critic halves maps larger than this
_GAIN: Final = 6.0  # of a critic's averaged features: with every norm bounded they leave the logits too little range
_TEMPERATURE: Final = 0.2  # of the likeness of two faces' attributes
_BY_EMOTION: Final = 1 / 8  # of the distance of an emotion's mean, beside that of the whole
_LEAST: Final = 1e-4  # variance, so that a deviation has a gradient where nothing varies
_MEASURED: Final = 256  # real faces measured at once
_SCALED: Final = 1000  # real faces that the scale of the maps is taken from

#: Attributes of CelebA that an expression or the camera changes; the others are the person's.
PASSING: Final = frozenset(
    (
        *("Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Big_Lips", "Blurry", "High_Cheekbones"),
        *("Mouth_Slightly_Open", "Narrow_Eyes", "Oval_Face", "Smiling", "Wearing_Lipstick"),
    )
)


def load_guides(recipe: GuideRecipe, data: PackedDataset) -> list[JudgeNetwork]:
    """Load the guides that a recipe names.

    Raises:
        JudgeError: a file is missing, damaged or no guide.
        ValueError: a guide knows other emotions or images than the data have, or none knows attributes where seeds are
            to keep theirs; one sentence.
    """
    guides = []
    for kind in recipe.kinds:
        guide = Judge.load(shipped(f"guide-{kind}") if kind.isalnum() else Path(kind)).network
        own = guide.config
        if (own.emotions, own.resolution, own.channels) != (data.emotions, data.resolution, data.channels):
            raise ValueError(f"guide {kind!r} was trained on images of another size or with other emotions.")
        guides.append(guide)
    if guides and recipe.identity and all(guide.attributes is None for guide in guides):
        raise ValueError("guide.identity needs a guide that knows attributes.")
    return guides


class Critic(nn.Module):
    """Projection discriminator with spectral norm on one feature map of a frozen network."""

    def __init__(self, channels: int, emotions: int) -> None:
        super().__init__()
        self.mix = Conv2d(channels, _HIDDEN, kernel=1, spectral=True)
        self.conv1 = Conv2d(_HIDDEN, _HIDDEN, spectral=True)
        self.conv2 = Conv2d(_HIDDEN, _HIDDEN, spectral=True)
        self.logit = Linear(_HIDDEN, 1, spectral=True)
        self.project = Linear(emotions, _HIDDEN, bias=False, spectral=True)

    def forward(self, x: Tensor, emotion: Tensor) -> Tensor:
        """Judge maps float ``[N, channels, H, W]`` with emotions ``[N, E]``: logits ``[N]``, above 0 real."""
        x = F.leaky_relu(self.mix(x), 0.2)
        if x.shape[-1] > _LARGEST:  # or these maps would cost more than everything else in a step
            x = F.avg_pool2d(x, 2)
        x = F.leaky_relu(self.conv1(x), 0.2)
        features = F.leaky_relu(self.conv2(x), 0.2).float().mean((2, 3)) * _GAIN
        logit: Tensor = self.logit(features).squeeze(1) + (self.project(emotion.float()) * features).sum(1)
        return logit


@dataclass(frozen=True, slots=True)
class Look:
    """What all guides see in N faces."""

    maps: list[Tensor]  # float32 [N, C, H, W], 0 or more, of all guides, each guide's from large to small
    features: list[Tensor]  # float32 [N, D], of each guide: what its heads are fed with
    pixels: Tensor  # float32 [N, C, H, W], the augmented faces


class Guidance(nn.Module):
    """The guides of a run, their critics, and what is remembered of generated faces.

    The guides themselves, and what :meth:`measure` finds in the real faces, are no part of its state.
    """

    def __init__(
        self,
        recipe: GuideRecipe,
        guides: Sequence[JudgeNetwork],
        device: str,
        world: World,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.world = world
        self.dtype = dtype  # of the guides' arithmetic; what is made of their maps is float32
        self._guides = [guide.eval().requires_grad_(False).to(device) for guide in guides]  # a list: not in the state
        self._scales: list[tuple[Tensor, Tensor]] = []  # mean and 1 / deviation of each map's channels in real faces
        self._importance = torch.ones(len(guides[0].config.emotions), device=device)  # of each emotion
        self._loudness: list[Tensor] = []  # 1 / deviation of each guide's features, all channels together
        self._lasting = [lasting(guide).to(device) for guide in guides]  # of each guide's attributes
        self._parts: tuple[str, ...] = ()  # names of what the loss is made of
        self._replay: Callable[..., tuple[Tensor, Tensor]] | None = None  # the loss as a CUDA graph
        # Every step must launch the same to be captured, and what one step has looked at, the next may overwrite.
        same = not recipe.critics and (recipe.moments_every > 1 or not recipe.moments)
        self._capturable = torch.device(device).type == "cuda" and world.size == 1 and same
        emotions = len(guides[0].config.emotions)
        widths = [width for guide in guides for width in guide.config.widths]
        self.critics = nn.ModuleList(Critic(width, emotions) for width in widths if recipe.critics)
        resolution, channels = guides[0].config.resolution, guides[0].config.channels
        features = sum(guide.config.widths[-1] for guide in guides)
        others = [2 * width for guide in guides for width in guide.config.widths[:-1]]
        low, high = channels * (resolution // 4) ** 2, channels * (resolution // 8) ** 2
        sizes = [features, *others, low, high, high, high]
        self.moments = Moments(sizes, emotions, recipe.memory, keeps=recipe.moments_every > 1)
        self.to(device).to(memory_format=torch.channels_last)

    def measure(self, data: PackedDataset, device: str) -> None:
        """Look at the real faces in ``data``, every second one mirrored; to be done once before all else."""
        rng = torch.Generator().manual_seed(0)
        some = torch.from_numpy(data.images[:: max(1, len(data) // _SCALED)]).to(device).float().div(127.5).sub(1)
        with torch.no_grad():
            maps = self._raw(some)
            for part in maps:
                self._scales.append((part.mean((0, 2, 3), True), 1 / (part.std((0, 2, 3), keepdim=True) + 1e-6)))
            shown = torch.from_numpy(data.labels).to(device).float().mean(0).clamp_min(1 / len(data))
            self._importance = F.normalize(shown**-self.recipe.rare, p=1, dim=0) * len(shown)
            self._loudness = [1 / (part.var(0).sum().sqrt() + 1e-6) for part in self._features(maps)]
        if not self.recipe.moments:
            return
        labels = F.one_hot(torch.from_numpy(data.labels).argmax(1), data.labels.shape[1])

        def batches() -> Iterator[tuple[list[Tensor], Tensor]]:
            for begin in range(0, len(data), _MEASURED):
                x = torch.from_numpy(data.images[begin : begin + _MEASURED]).to(device).float().div(127.5).sub(1)
                x = torch.cat([x[::2], x[1::2].flip(3)])
                own = labels[begin : begin + _MEASURED].to(device)
                yield self._sets(self.look(x, rng)), torch.cat([own[::2], own[1::2]])

        self.moments.measure(batches())

    def look(self, images: Tensor, rng: torch.Generator, world: World = ALONE) -> Look:
        """Show faces float32 ``[N, C, H, W]`` in -1..1 to every guide, as :meth:`seen` makes them."""
        return self._look(self.seen(images, rng, world))

    def seen(self, images: Tensor, rng: torch.Generator, world: World = ALONE) -> Tensor:
        """Return the faces as guides see them, augmented with random numbers from ``rng``; with a ``world`` they are
        this process's share."""
        return augment(images, self.recipe.augment_p, rng, world)

    def _look(self, seen: Tensor) -> Look:
        maps = self._raw(seen)
        scaled = zip(maps, self._scales, strict=True)
        return Look([F.relu((part - mean) * scale) for part, (mean, scale) in scaled], self._features(maps), seen)

    def _raw(self, images: Tensor) -> list[Tensor]:
        with torch.autocast(images.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return [part.float() for guide in self._guides for part in guide.maps(images)]

    def _ends(self) -> list[int]:
        """Return where in a list of all guides' maps each guide's last one is."""
        return [end - 1 for end in accumulate(len(guide.config.widths) for guide in self._guides)]

    def _features(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [maps[end].mean((2, 3)) for end in self._ends()]

    def critic_loss(self, real: Look, fake: Look, emotions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the critics' loss, summed over them, and the mean logits that they give to either kind."""
        total = emotions.new_zeros(())
        told: dict[str, list[Tensor]] = {"critics_real": [], "critics_fake": []}
        for critic, a, b in zip(self.critics, real.maps, fake.maps, strict=True):
            logits = critic(torch.cat([a.detach(), b.detach()]), emotions.repeat(2, 1)).chunk(2)
            total = total + discriminator_loss("hinge", *logits)
            for name, part in zip(told, logits, strict=True):
                told[name].append(part.mean())
        return total, {name: torch.stack(parts).mean() for name, parts in told.items()}

    def generator_loss(self, fake: Look | Tensor, batch: Batch, step: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what the guides hold against generated faces in the ``step``-th step, weighted as the recipe says,
        and each part of it.

        ``fake`` is what guides see in them, or the faces as :meth:`seen` makes them, for guides to look at.
        """
        # What is remembered of few faces has no spread in most directions, and a slope there is no tangent but a wall.
        filling = step * len(batch.emotions) * self.world.size < self.recipe.memory
        anew = filling or step % self.recipe.moments_every == 0
        if isinstance(fake, Tensor):
            if self._capturable and not (anew and self.recipe.moments):
                return self._replayed(fake, batch)
            fake = self._look(fake)
        total, parts = self._loss(fake, batch.emotions, batch.weights, anew)
        if self.recipe.critics:
            logits = [critic(part, batch.told) for critic, part in zip(self.critics, fake.maps, strict=True)]
            parts["critics"] = torch.stack([generator_loss("hinge", part, part) for part in logits]).mean()
            total = total + self.recipe.critics * parts["critics"]
        return total, parts

    def _loss(self, fake: Look, emotions: Tensor, weights: Tensor, anew: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what all but the critics hold against faces that were to show ``emotions``."""
        own = self.recipe
        parts: dict[str, Tensor] = {}
        total = emotions.new_zeros(())
        if own.moments:
            whole, by_emotion = self.moments(self._sets(fake), emotions, weights, self.world, anew=anew)
            parts |= {"frechet": whole[0], "frechet_maps": whole[1:].mean(), "emotion_means": by_emotion[0]}
            apart = whole + by_emotion * _BY_EMOTION
            total = total + own.moments * (apart[0] + apart[1:].mean()) / 2
        if own.emotion:
            named = [guide.votes(part) for guide, part in zip(self._guides, fake.features, strict=True)]
            off = torch.stack([divergence(part, emotions) for part in named])
            parts["guides_emotion"] = (F.relu(off - own.slack) * (emotions @ self._importance)).mean()
            total = total + own.emotion * parts["guides_emotion"]
        if own.identity:
            parts["guides_identity"] = self._identity(fake)
            total = total + own.identity * parts["guides_identity"]
        return total, parts

    def _replayed(self, seen: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss as one launch: its thousands of small kernels take a GPU less time than Python to launch."""
        if self._replay is None:
            self._replay = self._capture(seen, batch)
        total, parts = self._replay(seen, batch.emotions, batch.weights)
        return total, {name: part.clone() for name, part in zip(self._parts, parts, strict=True)}

    def _capture(self, seen: Tensor, batch: Batch) -> Callable[..., tuple[Tensor, Tensor]]:
        def loss(seen: Tensor, emotions: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
            total, parts = self._loss(self._look(seen), emotions, weights, anew=False)
            self._parts = tuple(parts)
            return total, torch.stack([part.detach() for part in parts.values()])

        remembered = {name: value.clone() for name, value in self.moments.state_dict().items()}
        samples = (seen.detach().clone().requires_grad_(), batch.emotions.clone(), batch.weights.clone())
        replay = torch.cuda.make_graphed_callables(loss, samples)
        self.moments.load_state_dict(remembered)  # as if nothing had been tried out
        return cast(Callable[..., tuple[Tensor, Tensor]], replay)

    def _sets(self, look: Look) -> list[Tensor]:
        """Return what moments are taken of: all features, mean and deviation of the other maps' channels, coarse
        pixels, and how much of the finest detail is where, of each direction alone: against patterns that please
        classifiers and nobody else."""
        coarse = F.avg_pool2d(look.pixels, 4)
        tops, bottoms = look.pixels[:, :, ::2], look.pixels[:, :, 1::2]
        sums, differences = (tops + bottoms) / 2, (tops - bottoms) / 2
        across, crossed = (part[..., ::2] - part[..., 1::2] for part in (sums, differences))
        down = differences[..., ::2] + differences[..., 1::2]
        detail = [F.avg_pool2d(part.abs(), 4).flatten(1) for part in (across, down, crossed)]
        ends = set(self._ends())
        others = [part for k, part in enumerate(look.maps) if k not in ends]
        spread = [torch.cat([part.mean((2, 3)), (part.var((2, 3)) + _LEAST).sqrt()], 1) for part in others]
        alike = [part * loud for part, loud in zip(look.features, self._loudness, strict=True)]
        return [torch.cat(alike, 1), *spread, coarse.flatten(1), *detail]

    def _identity(self, fake: Look) -> Tensor:
        losses = []
        for guide, features, which in zip(self._guides, fake.features, self._lasting, strict=True):
            if guide.attributes is None:
                continue
            x = self.world.gather(guide.attributes(features)[:, which])
            x = F.normalize((x - x.mean(0)) / (x.std(0).detach() + 1e-3), dim=1)
            likeness = x[0::2] @ x[1::2].T / _TEMPERATURE
            own = torch.arange(len(likeness), device=x.device)
            losses.append((F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)) / 2)
        return torch.stack(losses).mean()


def lasting(guide: JudgeNetwork) -> Tensor:
    """Return which of the attributes that a guide knows are the person's, as indices."""
    return torch.tensor([k for k, name in enumerate(guide.config.attributes) if name not in PASSING], dtype=torch.int64)

"""Latent reweighting: a network that says which latents become people, fitted to weights that are done.

Latents of people are drawn, each is shown in every emotion to guides, and the network learns a probability to accept
each (Issenhuth et al. 2022, "Latent reweighting, an almost free improvement for GANs"). That paper learns importance
weights against a critic; here they lower what guides measure of the faces so weighted, all emotions in the training
set's mix:

- *frechet*: the Frechet distance of their features from real faces', as part of what it is with all people;
- *emotion*: how far what is named is from what was asked for;
- *identity*: how unlike each other one person's lasting attributes are in different emotions.

Faces are drawn and looked at once, so a fit takes seconds; the generator stays as it is. A quarter of the people is
kept from the fit, and the figures are of those. Judges have no part in it, so they can still judge what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from model.emotions import EmotionMix
from model.generator import AnyGenerator
from model.networks import accepting_all, build_generator
from model.people import Acceptance
from model.sampler import FaceSampler
from training.data.packed import PackedDataset
from training.guidance import lasting
from training.judge import JudgeNetwork
from training.moments import Moments
from training.precision import fast_dtype
from training.reference import RARE, Faces

_STREAM: Final = 0x7265776569676874  # second word of the Philox key: no seed's latents, nor training's
_SEEN: Final = 512  # faces that a guide looks at at once
_KEPT: Final = 4  # one part in so many is kept from the fit
_MOST: Final = 4.0  # nats that one face may be wrong by: no face of which nothing can be made decides on all
_HOLD: Final = 20.0  # of the squared logarithm by which too few are accepted


@dataclass(frozen=True, slots=True)
class Reweighting:
    """How a network that accepts latents is fitted.

    Raises:
        ValueError: a setting is out of its range; one sentence.
    """

    people: int = 16384  # latents that are drawn
    widths: tuple[int, ...] = (64, 32)  # hidden units
    rate: float = 0.2  # of latents that are accepted, at least: below, more is lost than won
    emotion: float = 1.5  # weight of the emotion beside the Frechet distance, which begins at 1
    rare: float = 0.2  # 0: emotions count alike; above, in proportion to their rarity to this power
    identity: float = 6.0  # weight of the lasting attributes' likeness
    steps: int = 250
    batch: int = 4096  # people a step
    lr: float = 2e-3  # AdamW's, at the peak of one cycle
    decay: float = 0.3  # AdamW's
    seed: int = 0

    def __post_init__(self) -> None:
        if self.people < 100 or self.steps < 10 or self.batch < 16:
            raise ValueError("people must be at least 100, steps 10 and batch 16.")
        if not 0 < self.rate <= 1:
            raise ValueError("rate must be above 0, and at most 1.")
        if min(self.emotion, self.rare, self.identity, self.lr, self.decay) < 0 or not self.widths:
            raise ValueError("weights, rates and decay must not be negative, and there must be hidden units.")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one guide sees in faces of N people in E emotions."""

    features: Tensor  # float16 [N, E, D]
    wrong: Tensor  # float32 [N, E]: nats from what was asked for to what is named
    alike: Tensor | None  # float32 [N], 0..1: how alike one's lasting attributes are; None if it knows no attributes


def reweight(
    generator: AnyGenerator,
    data: PackedDataset,
    guides: Sequence[JudgeNetwork],
    how: Reweighting,
    *,
    device: str = "cpu",
    say: Callable[[str, float], None] = lambda text, done: None,
) -> tuple[AnyGenerator, dict[str, Any]]:
    """Fit a network that accepts latents; return the generator with it, and figures for the card.

    Args:
        generator: not changed. What it accepted before is left out.
        data: the faces it was trained on.
        guides: of the same emotions and size as ``data``.
        say: is told what is being done, and which part of it is done.

    Returns:
        The generator with the network, and ``settings``, ``accepted`` (the part of latents), and of each guide ``all``
        and ``accepted``: ``frechet`` (by real variance), ``wrong`` (nats) and ``alike`` (if it knows attributes).
    """
    plain = accepting_all(generator)
    sampler = FaceSampler(plain, device=device, precision=str(fast_dtype(device)).removeprefix("torch."))
    emotions = tuple(e for e in sampler.emotions if e in data.emotions and e not in RARE)
    real = Faces.of(data, emotions)
    columns = [data.emotions.index(emotion) for emotion in emotions]
    rng = np.random.Generator(np.random.Philox(key=[how.seed, _STREAM]))
    latents = rng.standard_normal((how.people, generator.config.latent_dim), np.float32)
    say("drawing people", 0.0)
    faces = _draw(sampler, latents, emotions)
    seen, moments = [], []
    for number, guide in enumerate(guides):
        say(f"guide {number + 1} of {len(guides)} looks", number / len(guides))
        guide.to(device).eval()
        seen.append(_see(guide, faces, columns))
        moments.append(_measure(guide, real, len(emotions)))
    share = torch.from_numpy(np.bincount(real.classes, minlength=len(emotions)) / len(real.classes)).float()
    return _fitted(plain, torch.from_numpy(latents), seen, moments, share, how, say)


def _draw(sampler: FaceSampler, latents: NDArray[np.float32], emotions: Sequence[str]) -> NDArray[np.uint8]:
    """Draw every latent in every emotion: uint8 ``[N, E, C, H, W]``."""
    vectors = np.stack(
        [EmotionMix.parse(emotion, sampler.emotions).vector(sampler.emotions, 1.0) for emotion in emotions]
    ).astype(np.float32)
    drawn = []
    for begin in range(0, len(latents), _SEEN):
        part = latents[begin : begin + _SEEN]
        drawn.append(sampler.draw(part.repeat(len(emotions), axis=0), np.tile(vectors, (len(part), 1))))
    faces = np.concatenate(drawn).transpose(0, 3, 1, 2)
    return faces.reshape(len(latents), len(emotions), *faces.shape[1:])


@torch.inference_mode()
def _looked(guide: JudgeNetwork, images: NDArray[np.uint8]) -> Iterator[tuple[Tensor, Tensor]]:
    """Show images uint8 ``[N, C, H, W]`` to a guide: features and logits of votes, float32, of some at a time."""
    device = next(guide.parameters()).device
    dtype = fast_dtype(str(device))
    for begin in range(0, len(images), _SEEN):
        x = torch.from_numpy(images[begin : begin + _SEEN]).to(device).float().div(127.5).sub(1)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            features, votes, _ = guide(x.contiguous(memory_format=torch.channels_last))
        yield features.float(), votes.float()


@torch.inference_mode()
def _see(guide: JudgeNetwork, faces: NDArray[np.uint8], columns: Sequence[int]) -> _Seen:
    people, emotions = faces.shape[:2]
    asked = torch.tensor(columns).repeat(people)
    which = lasting(guide).to(next(guide.parameters()).device)
    features: list[Tensor] = []
    wrong: list[Tensor] = []
    attributes: list[Tensor] = []
    for part, votes in _looked(guide, faces.reshape(-1, *faces.shape[2:])):
        features.append(part.half().cpu())
        begin = len(wrong) * _SEEN
        wrong.append(F.cross_entropy(votes.cpu(), asked[begin : begin + len(votes)], reduction="none"))
        if guide.attributes is not None:
            attributes.append(guide.attributes(part)[:, which].float().cpu())
    alike = None
    if attributes:
        x = torch.cat(attributes)
        x = F.normalize((x - x.mean(0)) / (x.std(0) + 1e-3), dim=1).view(people, emotions, -1)
        alike = x.mean(1).square().sum(1)
    return _Seen(torch.cat(features).view(people, emotions, -1), torch.cat(wrong).view(people, emotions), alike)


def _measure(guide: JudgeNetwork, real: Faces, emotions: int) -> Moments:
    """Return what compares a guide's features, whole and weighted, with those of real faces."""
    moments = Moments([guide.config.widths[-1]], emotions, memory=0)
    features = [part.cpu() for part, _ in _looked(guide, real.images)]
    asked = F.one_hot(torch.from_numpy(real.classes), emotions).split(_SEEN)
    moments.measure(([part], own) for part, own in zip(features, asked, strict=True))
    return moments


def _fitted(
    generator: AnyGenerator,
    latents: Tensor,
    seen: Sequence[_Seen],
    moments: Sequence[Moments],
    share: Tensor,
    how: Reweighting,
    say: Callable[[str, float], None],
) -> tuple[AnyGenerator, dict[str, Any]]:
    torch.manual_seed(how.seed)
    count = len(latents) - len(latents) // _KEPT
    kept = torch.arange(count, len(latents))
    importance = F.normalize(share**-how.rare, p=1, dim=0)
    everybody = [float(_frechet(*pair, share, kept, torch.ones(len(kept)))) for pair in zip(seen, moments, strict=True)]
    acceptance = Acceptance(latents.shape[1], how.widths)
    optimizer = torch.optim.AdamW(acceptance.parameters(), how.lr, weight_decay=how.decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.lr, total_steps=how.steps)
    for step in range(how.steps):
        some = torch.randint(count, (min(how.batch, count),))
        weights = torch.sigmoid(acceptance(latents[some]))
        total = _HOLD * F.relu(math.log(how.rate) - weights.mean().log()).square()
        for own, moment, before in zip(seen, moments, everybody, strict=True):
            total = total + _frechet(own, moment, share, some, weights) / before / len(seen)
            part = weights / weights.sum()  # anew for each guide: the gradient's sums in this order made what ships
            wrong = own.wrong[some].clamp(max=_MOST) @ importance
            total = total + how.emotion * (part @ wrong) / len(seen)
            if own.alike is not None:
                total = total - how.identity * (part @ own.alike[some]) / len(seen)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        cycle.step()
        say(f"fitting: {float(total.detach()):.3f}", (step + 1) / how.steps)
    made = build_generator(replace(generator.config, acceptance=how.widths)).eval().requires_grad_(False)
    made.load_state_dict({**generator.state_dict(), **acceptance.state_dict(prefix="acceptance.")})
    with torch.no_grad():
        weights = torch.sigmoid(acceptance(latents[kept]))
        settings = {**asdict(how), "widths": list(how.widths)}
        told: dict[str, Any] = {"settings": settings, "accepted": float(weights.mean()), "guides": []}
        for own, moment in zip(seen, moments, strict=True):
            pair = {
                name: _figures(own, moment, share, kept, part)
                for name, part in (("all", torch.ones(len(kept))), ("accepted", weights))
            }
            told["guides"].append(pair)
    return made, told


def _frechet(own: _Seen, moments: Moments, share: Tensor, some: Tensor, weights: Tensor) -> Tensor:
    """Return the Frechet distance / real variance of people so weighted, their emotions weighing as ``share`` says."""
    features = own.features[some].float().flatten(0, 1)
    asked = torch.eye(len(share)).repeat(len(some), 1)
    whole, _ = moments([features], asked, (weights.unsqueeze(1) * share).flatten())
    return whole[0]


def _figures(own: _Seen, moments: Moments, share: Tensor, kept: Tensor, weights: Tensor) -> dict[str, float]:
    part = weights / weights.sum()
    figures = {
        "frechet": float(_frechet(own, moments, share, kept, weights)),
        "wrong": float(part @ own.wrong[kept].mean(1)),
    }
    return figures if own.alike is None else {**figures, "alike": float(part @ own.alike[kept])}

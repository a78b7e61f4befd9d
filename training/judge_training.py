"""How a judge, or a guide, is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.augment import augment
from training.batches import draw_weights
from training.data.celeba_attributes import AttributedFaces
from training.data.packed import PackedDataset
from training.judge import Judge, JudgeConfig, JudgeError, JudgeNetwork
from training.losses import emotion_loss
from training.precision import fast_dtype
from training.transfer import send

#: Judges that teach generators, and so must never judge one (training/guidance.py).
GUIDES: Final = ("c", "d", "e", "f", "g", "h", "i", "j", "k")

_STREAM: Final = 0x6A75646765  # second word of the Philox key
_ATTRIBUTED: Final = 40  # faces with attributes beside each batch
_ATTRIBUTES_WEIGHT: Final = 3.0  # of the mean binary cross-entropy of attributes, beside the emotions' losses
_STRIDE: Final = 1.25  # of the one step towards the worst change, in norms of it (Wong et al. 2020, section 4)
_DEEP: Final[dict[str, Any]] = {"depth": 2, "epochs": 24.0, "balance": 0.5, "batch": 256, "lr": 4e-3}
# The guides are unlike the judges in shape, so that a generator does not learn the judges' own blind spots.
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "a": {"widths": (32, 96, 192), "depth": 1, "seed": 0},
    "b": {"widths": (32, 96, 192), "depth": 1, "stem": 1, "seed": 1},
    "c": {"widths": (48, 96, 160), "stem": 1, "pool": "mean", "standardise": False, "epochs": 9.0, "seed": 2},
    "d": {"widths": (40, 80, 128, 160), "pool": "mean", "standardise": False, "epochs": 9.0, "seed": 3},
    "e": {"widths": (32, 80, 160), "stem": 1, "epochs": 8.0, "seed": 4},
    "f": {"widths": (36, 84, 160), "epochs": 7.0, "seed": 5},
    "g": {"widths": (40, 96, 176), "stem": 1, "epochs": 18.0, "balance": 0.5, "seed": 6},
    "h": {"widths": (36, 80, 144), "stem": 1, "epochs": 7.0, "balance": 0.75, "robust": 0.3, "seed": 7},
    "i": {"widths": (36, 100, 184), "epochs": 14.0, "balance": 0.5, "robust": 0.15, "seed": 8},
    # Deeper and for longer, as a GPU has time for.
    "j": {**_DEEP, "widths": (64, 128, 192), "pool": "mean", "robust": 0.15, "seed": 9},
    "k": {**_DEEP, "widths": (64, 112, 176), "pool": "mean", "stem": 1, "standardise": False, "seed": 10},
}


def _one_cycle(done: float) -> float:
    """Return the learning rate's factor when ``done`` (0..1) of the training is over (Smith & Topin 2018)."""
    return done / 0.2 if done < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8)


def _loss(
    network: JudgeNetwork, images: Tensor, *, truth: Tensor, classes: Tensor | None, values: Tensor | None
) -> Tensor:
    """Return what a judge loses on faces of which the first have votes and classes, and the others attributes."""
    device, dtype = images.device.type, fast_dtype(str(images.device))
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        features, votes, given = network(images)
    loss = emotion_loss(votes[: len(truth)].float(), truth)
    if classes is not None:
        loss = loss + F.cross_entropy(given[: len(truth)].float(), classes)
    if values is not None and network.attributes is not None:
        said = network.attributes(F.dropout(features[len(truth) :], network.config.dropout))
        loss = loss + _ATTRIBUTES_WEIGHT * F.binary_cross_entropy_with_logits(said, values)
    return loss


def _worse(images: Tensor, loss: Callable[[Tensor], Tensor], norm: float, rng: torch.Generator) -> Tensor:
    """Return faces, each with a change of at most ``norm`` that raises ``loss``: one step from a random place.

    A network that has learned to bear it (Madry et al. 2018; Wong et al. 2020, "Fast is better than free", section 4)
    looks at what people look at, and what pleases it pleases other networks too (Springer et al. 2021, "A little
    robustness goes a long way").
    """

    def bounded(change: Tensor) -> Tensor:
        return change * (norm / (change.flatten(1).norm(dim=1) + 1e-8)).clamp(max=1).view(-1, 1, 1, 1)

    begin = bounded(torch.randn(images.shape, generator=rng).to(images.device) * (norm / images[0].numel() ** 0.5))
    begin = begin.requires_grad_()
    (slope,) = torch.autograd.grad(loss(images + begin), begin)
    step = slope / (slope.flatten(1).norm(dim=1) + 1e-12).view(-1, 1, 1, 1) * (norm * _STRIDE)
    return images + bounded(begin.detach() + step)


def train_judge(
    images: NDArray[np.uint8],
    labels: NDArray[np.float32],
    given: NDArray[np.int64] | None,
    config: JudgeConfig,
    *,
    device: str = "cpu",
    attributed: AttributedFaces | None = None,
    card: dict[str, Any] | None = None,
    report: Callable[[dict[str, float]], None] = lambda line: None,
) -> Judge:
    """Train a judge on uint8 ``[N, C, H, W]`` with soft labels ``[N, E]`` and, where there are, given classes ``[N]``.

    A guide learns attributes too, from ``attributed`` faces that nobody has named an emotion of.

    Weights are float32, the arithmetic is :func:`training.precision.fast_dtype`'s. The same arguments give the same
    judge on the same machine and threads. ``report`` gets a line about twenty times in the run.

    Raises:
        JudgeError: the loss is not finite, or the attributes are not those of ``config``.
    """
    if config.attributes != (() if attributed is None else attributed.names):
        raise JudgeError("a judge with attributes needs faces with just those, and no other judge can use them.")
    torch.manual_seed(config.seed)
    network = JudgeNetwork(config).to(device).to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(images).to(device)
    steps = max(1, math.ceil(config.epochs * len(images) / config.batch))
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, config.lr, betas=(0.9, 0.99), foreach=True)
    cycle = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _one_cycle((step + 1) / steps))
    cumulative = np.cumsum(draw_weights(labels, config.balance))
    rng = np.random.Generator(np.random.Philox(key=[config.seed, _STREAM]))
    noise = torch.Generator().manual_seed(config.seed)
    others = None if attributed is None else torch.from_numpy(attributed.images).to(device)
    began, losses = time.monotonic(), []
    for step in range(steps):
        index = np.minimum(np.searchsorted(cumulative, rng.random(config.batch)), len(cumulative) - 1)
        x = pixels[send(torch.from_numpy(index), device)]
        if others is not None:
            more = rng.integers(0, len(others), _ATTRIBUTED)
            x = torch.cat([x, others[send(torch.from_numpy(more), device)]])
        x = x.float().div(127.5).sub(1)
        flip = send(torch.from_numpy(rng.random(len(x)) < 0.5), device)
        x = augment(torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x), config.augment_p, noise)
        truth = send(torch.from_numpy(labels[index]), device)
        classes = None if given is None else send(torch.from_numpy(given[index]), device)
        values = None if attributed is None else send(torch.from_numpy(attributed.values[more]), device)
        loss_of = partial(_loss, network, truth=truth, classes=classes, values=values)
        if config.robust:
            x = _worse(x, loss_of, config.robust, noise)
        loss = loss_of(x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        cycle.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise JudgeError(f"the judge's training stopped being finite at step {step:,}; try a lower lr.")
        if (step + 1) % max(1, steps // 20) == 0:
            seconds = time.monotonic() - began
            rate = (step + 1) * config.batch / seconds
            report({"step": step + 1, "steps": steps, "loss": float(np.mean(losses)), "img_s": rate})
            losses = []
    return Judge(network, dict(card or {}), device)


def judge_config(
    kind: str, data: PackedDataset, epochs: float | None = None, attributes: tuple[str, ...] = ()
) -> JudgeConfig:
    """Return the configuration of a judge, ``a`` or ``b``, or of a guide, ``c`` to ``k``, for a data set.

    Raises:
        JudgeError: there is no such kind, a judge is to know attributes, or the images are too small for it.
    """
    if kind not in _KINDS:
        raise JudgeError(f"there is no kind of judge {kind!r}; choose one of {', '.join(_KINDS)}.")
    if attributes and kind not in GUIDES:
        raise JudgeError(f"attributes are for guides ({', '.join(GUIDES)}); a judge names emotions alone.")
    config = JudgeConfig(data.emotions, data.resolution, data.channels, attributes=attributes, **_KINDS[kind])
    if data.resolution % 2 ** len(config.widths):
        raise JudgeError(f"a judge's images must be a multiple of {2 ** len(config.widths)} pixels a side.")
    return config if epochs is None else replace(config, epochs=epochs)

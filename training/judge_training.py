"""How a judge is trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.augment import NORMALS, UNIFORMS, augment
from training.data.packed import PackedDataset
from training.judge import Judge, JudgeConfig, JudgeError, JudgeNetwork
from training.losses import emotion_loss
from training.precision import fast_dtype
from training.transfer import send
from training.vote_labels import sampling_weights

_STREAM: Final = 0x6A75646765  # second word of the Philox key
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "a": {"widths": (32, 96, 192), "depth": 1, "seed": 0},
    "b": {"widths": (32, 96, 192), "depth": 1, "stem": 1, "seed": 1},
}


def _one_cycle(done: float) -> float:
    """Return the learning rate's factor when ``done`` (0..1) of the training is over (Smith & Topin 2018)."""
    return done / 0.2 if done < 0.2 else 0.5 + 0.5 * math.cos(math.pi * (done - 0.2) / 0.8)


def _loss(network: JudgeNetwork, images: Tensor, truth: Tensor, classes: Tensor | None) -> Tensor:
    """Return a judge's loss: the cross-entropy against votes ``[N, E]`` and, where given, against classes ``[N]``."""
    device, dtype = images.device.type, fast_dtype(str(images.device))
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        _, votes, given = network(images)
    loss = emotion_loss(votes.float(), truth)
    if classes is not None:
        loss = loss + F.cross_entropy(given.float(), classes)
    return loss


def train_judge(
    images: NDArray[np.uint8],
    labels: NDArray[np.float32],
    given: NDArray[np.int64] | None,
    config: JudgeConfig,
    *,
    device: str = "cpu",
    card: dict[str, Any] | None = None,
    report: Callable[[dict[str, float]], None] = lambda line: None,
) -> Judge:
    """Train a judge on uint8 ``[N, C, H, W]`` with soft labels ``[N, E]`` and, where there are, given classes ``[N]``.

    Weights are float32, the arithmetic is :func:`training.precision.fast_dtype`'s. The same arguments give the same
    judge on the same machine and threads. ``report`` gets a line about twenty times in the run.

    Raises:
        JudgeError: the loss is not finite.
    """
    torch.manual_seed(config.seed)
    network = JudgeNetwork(config).to(device).to(memory_format=torch.channels_last)
    pixels = torch.from_numpy(images).to(device)
    steps = max(1, math.ceil(config.epochs * len(images) / config.batch))
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, config.lr, betas=(0.9, 0.99), foreach=True)
    cycle = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _one_cycle((step + 1) / steps))
    cumulative = np.cumsum(sampling_weights(labels, rarity=config.balance, agreement=0.0))
    rng = np.random.Generator(np.random.Philox(key=[config.seed, _STREAM]))
    augment_p = torch.tensor(config.augment_p, device=device)
    noise = torch.Generator().manual_seed(config.seed)
    began, losses = time.monotonic(), []
    for step in range(steps):
        index = np.minimum(np.searchsorted(cumulative, rng.random(config.batch)), len(cumulative) - 1)
        x = pixels[send(torch.from_numpy(index), device)].float().div(127.5).sub(1)
        flip = send(torch.from_numpy(rng.random(len(x)) < 0.5), device)
        normals = torch.randn((NORMALS, len(x)), generator=noise)
        uniforms = torch.rand((UNIFORMS, len(x)), generator=noise)
        x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
        x = augment(x, augment_p, send(normals, device), send(uniforms, device))
        truth = send(torch.from_numpy(labels[index]), device)
        classes = None if given is None else send(torch.from_numpy(given[index]), device)
        loss = _loss(network, x, truth, classes)
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


def judge_config(kind: str, data: PackedDataset, epochs: float | None = None) -> JudgeConfig:
    """Return the configuration of a judge of kind ``a`` or ``b`` for a data set.

    Raises:
        JudgeError: there is no such kind, or the images are too small for it.
    """
    if kind not in _KINDS:
        raise JudgeError(f"there is no kind of judge {kind!r}; choose one of {', '.join(_KINDS)}.")
    config = JudgeConfig(data.emotions, data.resolution, data.channels, **_KINDS[kind])
    if data.resolution % 2 ** len(config.widths):
        raise JudgeError(f"a judge's images must be a multiple of {2 ** len(config.widths)} pixels a side.")
    return config if epochs is None else replace(config, epochs=epochs)

"""How much arithmetic training is, and how much the machine can do: speed as a fraction of what is possible."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from training.describe import describe_networks
from training.recipe import Recipe


def training_flops(recipe: Recipe, resolution: int, channels: int, emotions: tuple[str, ...]) -> int:
    """Return the floating-point operations of a step for each real image, two for a multiply-add.

    Of matrix products and convolutions, in forward passes: a backward pass costs two (gradients of inputs and of
    weights), or one through the frozen discriminator. The generator runs forward and backward once, 3; the
    discriminator on a real and a generated image, 6, and on the generated one again while frozen, 2. The gradient
    penalty costs a forward pass, a backward one for the image alone, and a backward pass through both, 6.
    """
    loss = recipe.loss
    generator, discriminator = 3.0, 8.0 + 6 * bool(loss.r1) / loss.r1_every
    with torch.random.fork_rng(devices=[]):  # networks are drawn to be counted, and nothing else may depend on that
        costs = {
            name: multiply_adds for name, _, multiply_adds in describe_networks(recipe, resolution, channels, emotions)
        }
    return round(2 * (generator * costs["generator"] + discriminator * costs["discriminator"]))


def matrix_rates(device: str, dtype: torch.dtype, seconds: float = 2.0) -> dict[str, float]:
    """Measure the machine's best floating-point operations a second, of a matrix product and of a 3x3 convolution.

    Each is repeated for ``seconds`` at a size at which it is fast, and the best repetition counts.
    """
    large = 8192 if device.startswith("cuda") else 1024
    a, b = (torch.randn(large, large, device=device, dtype=dtype) for _ in range(2))
    images, width = (256, 256) if device.startswith("cuda") else (16, 128)
    x = torch.randn(images, width, 24, 24, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(width, width, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        return {
            "matrix product": 2 * large**3 / best_seconds(lambda: a @ b, device, seconds),
            "convolution": 2
            * images
            * 24**2
            * width**2
            * 9
            / best_seconds(lambda: F.conv2d(x, kernel, padding=1), device, seconds),
        }


def best_seconds(work: Callable[[], object], device: str, seconds: float) -> float:
    """Return the time of the fastest call of ``work`` of those that fit into ``seconds``, after two for warmth."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    once(), once()
    best, end = once(), time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = min(best, once())
    return best

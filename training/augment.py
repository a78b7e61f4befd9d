"""Differentiable augmentation of all that the discriminator sees, so that a small data set lasts.

Each transformation is applied to an image with the same probability p to real and generated images alike, which does
not leak into what is generated as long as p stays well below 1 (Karras et al. 2020, section 2.2). p is steered by how
sure the discriminator is of real images (section 3), or rises by plan (Huang et al. 2024, R3GAN).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from training.distributed import ALONE, World
from training.recipe import AugmentRecipe
from training.transfer import send


def augment(images: Tensor, p: float, rng: torch.Generator, world: World = ALONE) -> Tensor:
    """Augment images, float32 ``[N, C, H, W]`` in -1..1, each transformation with probability ``p``.

    Shift by up to an eighth, scale (log-normal, 0.2 octaves), rotation (normal, 6 degrees), brightness (normal, 0.2),
    contrast (log-normal, 0.5 octaves), and a grey square of half the size. Random numbers are drawn on the CPU from
    ``rng``, the same count whatever ``p`` is; of several processes each uses its share of them.
    """
    n, _, height, width = images.shape
    draws = world.share(torch.randn((8, n * world.size), generator=rng), dim=1)
    uniform = world.share(torch.rand((9, n * world.size), generator=rng), dim=1)
    if p <= 0:
        return images
    on = (uniform[:6] < p).float()
    shift = (uniform[6:8] * 2 - 1) * 0.25 * on[0]  # grid units: 2 is the whole image
    scale = torch.exp2(draws[0] * 0.2 * on[1])
    angle = draws[1] * math.radians(6) * on[2]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], 1), torch.stack([sin, cos, shift[1]], 1)], 1)
    moved = (on[:3].sum(0) > 0).nonzero().squeeze(1)
    contrast, brightness = torch.exp2(draws[2] * 0.5 * on[3]), draws[3] * 0.2 * on[4]
    middle = uniform[8] * height, (draws[4] * 0.5).sigmoid() * width
    # What few numbers there are is made on the host, which then need not ask how many images move; what they are done
    # with is on the device.
    values = send(torch.stack([contrast, brightness, *middle, on[5]]), images.device).view(5, n, 1, 1, 1)
    if len(moved):  # resampling blurs a little and costs the most: only where something moves
        where, theta = send(moved, images.device), send(theta[moved], images.device)
        grid = F.affine_grid(theta, [len(moved), images.shape[1], height, width], False)
        warped = F.grid_sample(images[where], grid, padding_mode="reflection", align_corners=False)
        images = images.index_copy(0, where, warped)
    images = images * values[0] + values[1]
    rows = torch.arange(height, device=images.device).view(height, 1)
    columns = torch.arange(width, device=images.device)
    inside = ((rows - values[2]).abs() < height / 4) & ((columns - values[3]).abs() < width / 4)
    return images.masked_fill(inside & (values[4] > 0), 0.0)


def steer(p: float, real_sign: float, images: int, recipe: AugmentRecipe) -> float:
    """Return the next p after ``images`` images on which the mean sign of the real logits was ``real_sign`` (-1..1)."""
    if recipe.target <= 0:
        return recipe.minimum
    step = math.copysign(images / (recipe.speed_kimg * 1000), real_sign - recipe.target)
    return min(max(p + step, recipe.minimum), recipe.maximum)


def planned(cur_nimg: int, recipe: AugmentRecipe) -> float:
    """Return the p of a run that does not steer it, at ``cur_nimg`` images: on its ramp, or at its minimum."""
    if recipe.ramp_kimg <= 0:
        return recipe.minimum
    return recipe.minimum + (recipe.maximum - recipe.minimum) * min(cur_nimg / (recipe.ramp_kimg * 1000), 1.0)

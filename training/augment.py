"""Differentiable augmentation of everything that the discriminator sees, so that a small data set lasts.

Each transformation is applied with the same probability p to real and generated images alike, which does not leak into
the generated images as long as p stays well below 1 (Karras et al. 2020, ADA, section 2.2). p is steered by how sure
the discriminator is of real images (section 3).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from training.recipe import AugmentRecipe

#: Rows of random numbers that an image takes.
NORMALS: Final = 5
UNIFORMS: Final = 11


def augment(images: Tensor, p: Tensor, normals: Tensor, uniforms: Tensor) -> Tensor:
    """Augment images, float32 ``[N, C, H, W]`` with black at -1 and white at 1, each transformation with probability p.

    Shift by up to an eighth of the side, scale (log-normal, 0.2 octaves), stretch (log-normal, 0.15 octaves), rotation
    (normal, 0.2 rad), contrast (log-normal, 0.5 octaves), brightness (normal, 0.2), and a grey square of half the side.
    The same operations run whatever is drawn, so that a CUDA graph can hold them.

    Args:
        p: a scalar on the device of the images, 0 to 1.
        normals: standard normal numbers ``[NORMALS, N]``.
        uniforms: uniform numbers ``[UNIFORMS, N]`` from 0 to 1.
    """
    n, channels, height, width = images.shape
    on = (uniforms[:7] < p).float()
    shift = (uniforms[7:9] * 2 - 1) * 0.25 * on[0]  # in grid units: 2 is the whole image
    scale = torch.exp2(normals[0] * 0.2 * on[1])
    stretch = torch.exp2(normals[1] * 0.15 * on[2])
    angle = normals[2] * 0.2 * on[3]
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack(
        [
            torch.stack([cos * stretch, -sin / stretch, shift[0]], 1),
            torch.stack([sin * stretch, cos / stretch, shift[1]], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [n, channels, height, width], align_corners=False)
    moved = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    # An image that nothing moves stays as it is, to the last bit.
    images = torch.where(on[:4].sum(0).view(n, 1, 1, 1) > 0, moved, images)
    contrast, brightness = torch.exp2(normals[3] * 0.5 * on[4]), normals[4] * 0.2 * on[5]
    images = images * contrast.view(n, 1, 1, 1) + brightness.view(n, 1, 1, 1)
    rows = torch.arange(height, device=images.device).view(1, 1, height, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, width)
    middle_row, middle_column = (uniforms[9] * height).view(n, 1, 1, 1), (uniforms[10] * width).view(n, 1, 1, 1)
    inside = ((rows - middle_row).abs() < height / 4) & ((columns - middle_column).abs() < width / 4)
    return images.masked_fill(inside & (on[6].view(n, 1, 1, 1) > 0), 0.0)


def steer(p: Tensor, real_sign: Tensor, images: int, recipe: AugmentRecipe) -> None:
    """Move the probability ``p``, a scalar tensor, in place (Karras et al. 2020, section 3.1).

    Args:
        real_sign: the mean sign of the logits of real images, a scalar -1..1; above the target the discriminator
            overfits, and p rises.
        images: real images of the step.
    """
    if recipe.target > 0:
        step = images / (recipe.speed_kimg * 1000)
        p.add_(torch.sign(real_sign - recipe.target), alpha=step).clamp_(0, recipe.maximum)

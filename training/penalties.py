"""The gradient penalty R1 (Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", eq. 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from model.networks.base import Discriminator
from training.recipe import Recipe


def gradient_penalty(discriminator: Discriminator, images: Tensor, emotions: Tensor) -> Tensor:
    """Return the mean over images of the squared length of the logit's gradient with respect to the image.

    Args:
        discriminator: not compiled, because the second derivative through a compiled network can silently be lost
            (pytorch issues 181581 and 183603), and without batch norm.
        images: float ``[N, C, H, W]``, as the discriminator sees them. Computed in float32, whatever the run's
            precision, because small differences are squared.
        emotions: float ``[N, E]``, rows sum to 1; the condition.

    Returns:
        A float32 scalar, through which gradients reach the discriminator's parameters.
    """
    images = images.detach().float().requires_grad_()
    logit = discriminator(images, emotions).logit
    (gradient,) = torch.autograd.grad(logit.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def penalty_due(recipe: Recipe, cur_nimg: int) -> bool:
    """Tell whether the step that begins at ``cur_nimg`` images takes the penalty: every ``loss.r1_every``-th does.

    The first step of a run does. It depends on the counter alone, so a resumed run takes it in the same steps.
    """
    return bool(recipe.loss.r1) and cur_nimg // recipe.schedule.batch % recipe.loss.r1_every == 0

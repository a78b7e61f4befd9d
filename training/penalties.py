"""Zero-centred gradient penalties: where the discriminator's slope is bounded, both networks settle.

R1 is taken on real images (Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", eq. 9), R2
on generated ones (eq. 10); a relativistic loss needs both (Huang et al. 2024, R3GAN, section 2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.discriminator import AnyDiscriminator
from training.recipe import Recipe


def gradient_penalty(discriminator: AnyDiscriminator, images: Tensor, emotions: Tensor) -> Tensor:
    """Return the mean over images of the squared length of the logit's gradient with respect to the image.

    Args:
        discriminator: not compiled, because compiled networks cannot be differentiated twice, and without batch norm.
        images: float ``[N, C, H, W]``, as the discriminator sees them. It is asked anew, in float32 whatever the run's
            precision: small differences are squared here.
        emotions: float ``[N, E]``, rows sum to 1; what it is told.

    Returns:
        A float32 scalar, through which gradients reach the discriminator's parameters.
    """
    images = images.detach().float().requires_grad_()
    logit = discriminator(images, emotions).logit
    (gradient,) = torch.autograd.grad(logit.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def penalty_due(recipe: Recipe, cur_nimg: int) -> bool:
    """Tell whether the step that begins at ``cur_nimg`` images takes penalties; every ``loss.penalty_every``-th does.

    The first of a run does. It depends on the counter alone, so a run that goes on takes them where it would have.
    """
    return cur_nimg // recipe.schedule.batch % recipe.loss.penalty_every == 0


def penalties(
    discriminator: AnyDiscriminator, real: Tensor, fake: Tensor, emotions: Tensor, recipe: Recipe, cur_nimg: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what a step's penalties add to the discriminator's loss, and figures of them to log; all scalars.

    They are taken lazily, every so many steps and as much stronger (Karras et al. 2020, StyleGAN2, section 3.1).
    Adam's settings stay as they are, because the penalty joins the loss of its step instead of getting a step of its
    own. A figure is 0 in a step without, so that the mean over steps is that of the penalty.

    Args:
        real, fake: augmented images, float ``[N, C, H, W]``; emotions: ``[N, E]``, of either.
    """
    loss, every = recipe.loss, recipe.loss.penalty_every
    factor = 1 + (loss.penalty_to - 1) * min(cur_nimg / (recipe.schedule.total_kimg * 1000), 1.0)
    term, figures = real.new_zeros(()), {}
    for name, gamma, images in (("r1", loss.r1, real), ("r2", loss.r2, fake)):
        if not gamma:
            continue
        figures[name] = real.new_zeros(())
        if penalty_due(recipe, cur_nimg):
            figures[name] = every * gradient_penalty(discriminator, images, emotions)
            term = term + gamma / 2 * factor * figures[name]
    return term, figures

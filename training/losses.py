"""Adversarial losses on logits. Above 0 the discriminator says "real"."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the discriminator: logits ``[N]`` of real and of generated images -> a scalar.

    ``bce`` is binary cross-entropy with real = 1 and fake = 0 (Goodfellow et al. 2014, eq. 1); ``hinge`` asks for a
    margin of 1 on either side (Lim & Ye 2017; Miyato et al. 2018, eq. 16); ``relativistic`` asks that each real image
    looks more real than the generated one in its place (Jolicoeur-Martineau 2019; Huang et al. 2024, R3GAN, section 2).
    """
    if kind == "relativistic":
        return F.softplus(fake - real).mean()
    if kind == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(kind: str, fake: Tensor, real: Tensor) -> Tensor:
    """Loss of the generator: logits ``[N]`` of its images, and of the real ones in their place -> a scalar.

    ``bce`` is binary cross-entropy towards 1, the non-saturating form (Goodfellow et al. 2014, section 3); ``hinge``
    raises the logit itself (Miyato et al. 2018, eq. 17); both leave ``real`` alone. ``relativistic`` is the
    discriminator's loss with the two exchanged (Huang et al. 2024, section 2).
    """
    if kind == "relativistic":
        return F.softplus(real - fake).mean()
    if kind == "bce":
        return F.softplus(-fake).mean()
    return -fake.mean()


def realness(kind: str, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits ``[N]`` of which the sigmoid says how real real and generated images are held to be.

    A relativistic discriminator means something only by the difference of its logits, so those are differences.
    """
    return (real - fake, fake - real) if kind == "relativistic" else (real, fake)


def emotion_loss(logits: Tensor, emotion: Tensor) -> Tensor:
    """Cross-entropy of emotion logits ``[N, E]`` against soft labels ``[N, E]`` -> a scalar."""
    return F.cross_entropy(logits, emotion)


def divergence(logits: Tensor, emotion: Tensor) -> Tensor:
    """Kullback-Leibler divergence, in nats, of emotion logits ``[N, E]`` from soft labels ``[N, E]`` -> ``[N]``."""
    return F.kl_div(F.log_softmax(logits, 1), emotion, reduction="none").sum(1)

"""Adversarial losses on logits. Above 0 the discriminator says "real"."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss of the discriminator: logits ``[N]`` of real and of generated images -> a scalar.

    ``bce`` is binary cross-entropy with real = 1 and fake = 0 (Goodfellow et al. 2014, eq. 1); ``hinge`` asks for a
    margin of 1 on either side (Lim & Ye 2017; Miyato et al. 2018, eq. 16).
    """
    if kind == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """Loss of the generator: logits ``[N]`` of its images -> a scalar.

    ``bce`` is binary cross-entropy towards 1, the non-saturating form (Goodfellow et al. 2014, section 3); ``hinge``
    raises the logit itself (Miyato et al. 2018, eq. 17).
    """
    if kind == "bce":
        return F.softplus(-fake).mean()
    return -fake.mean()


def emotion_loss(logits: Tensor, emotion: Tensor) -> Tensor:
    """Cross-entropy of emotion logits ``[N, E]`` against soft labels ``[N, E]`` -> a scalar."""
    return F.cross_entropy(logits, emotion)


def latent_loss(guess: Tensor, latent: Tensor) -> Tensor:
    """Mean squared error of recovered latents ``[N, Z]``, 1 for a blind guess -> a scalar.

    It bounds the information that an image holds about its latent from below (Chen et al. 2016, InfoGAN, section 5).
    """
    return F.mse_loss(guess, latent)

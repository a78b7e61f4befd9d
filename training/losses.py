"""Losses of both networks. Above 0 the discriminator's logit says "real"."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(kind: str, real: Tensor, fake: Tensor) -> Tensor:
    """Return the discriminator's loss, a scalar, for logits ``[N]`` of real and of generated images.

    ``bce`` is binary cross-entropy with real = 1 and fake = 0 (Goodfellow et al. 2014, eq. 1); ``hinge`` asks for a
    margin of 1 on either side (Lim & Ye 2017; Miyato et al. 2018, eq. 16).
    """
    if kind == "bce":
        return F.softplus(-real).mean() + F.softplus(fake).mean()
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """Return the generator's loss, a scalar, for logits ``[N]`` of its images.

    ``bce`` is binary cross-entropy towards 1, the non-saturating form (Goodfellow et al. 2014, section 3); ``hinge``
    raises the logit itself (Miyato et al. 2018, eq. 17).
    """
    return F.softplus(-fake).mean() if kind == "bce" else -fake.mean()


def emotion_loss(logits: Tensor, emotion: Tensor) -> Tensor:
    """Return the cross-entropy, a scalar, of emotion logits ``[N, E]`` against soft labels ``[N, E]``."""
    return F.cross_entropy(logits, emotion)


def emotion_divergence(logits: Tensor, emotion: Tensor, slack: float) -> Tensor:
    """Return how far emotion logits ``[N, E]`` are from soft labels ``[N, E]`` beyond ``slack``, a scalar.

    It is the Kullback-Leibler divergence of each image, in nats, less ``slack``, at least 0, averaged.
    """
    divergence = F.kl_div(F.log_softmax(logits, 1), emotion, reduction="none").sum(1)
    return F.relu(divergence - slack).mean()


def identity_loss(identity: Tensor, temperature: float) -> Tensor:
    """Return the InfoNCE loss, a scalar, of identity embeddings ``[N, D]`` of length 1.

    Rows 2k and 2k + 1 show one person; each should be nearest to the other among all N - 1 (van den Oord et al. 2018,
    eq. 4; the symmetric form of Chen et al. 2020, SimCLR, eq. 1).
    """
    n = len(identity)
    similarity = identity @ identity.t() / temperature
    similarity = similarity.masked_fill(torch.eye(n, dtype=torch.bool, device=identity.device), -torch.inf)
    partner = torch.arange(n, device=identity.device) ^ 1
    return F.cross_entropy(similarity, partner)

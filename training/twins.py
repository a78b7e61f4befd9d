"""NoisyTwins: the same person told nearly the same emotion twice should look the same, and people should differ."""

from __future__ import annotations

from torch import Tensor

from training.distributed import ALONE, World

_REDUNDANCY = 0.05  # weight of "features say different things" beside "twins look the same" (NoisyTwins' own)


def twins_loss(first: Tensor, second: Tensor, world: World = ALONE) -> Tensor:
    """Return the distance of the correlations between two batches of features from those of equal, spread-out twins.

    Features ``[N, D]`` of faces and, in the same rows, of their twins -> a scalar, a mean over features: each should
    correlate fully with itself and not at all with any other (Zbontar et al. 2021, Barlow Twins, eq. 1). Rangwani et
    al. 2023 (NoisyTwins) ask it of StyleGAN's w, against the collapse of a rare class onto one face. This
    project's generators map no latent to a w; features of the discriminator, which sees what became of it, take its
    place. Over several processes the batch is that of all.
    """
    count = len(first) * world.size
    standard = []
    for features in (first, second):
        centred = features - world.total(features.sum(dim=0)) / count
        variance = world.total(centred.square().sum(dim=0)) / count
        standard.append(centred * (variance + 1e-5).rsqrt())
    correlation = world.total(standard[0].T @ standard[1]) / count
    own = correlation.diagonal()
    others = correlation.square().sum() - own.square().sum()
    return ((1 - own).square().sum() + _REDUNDANCY * others) / len(own)

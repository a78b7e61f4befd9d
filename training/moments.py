"""A Frechet distance to train with: the statistics of generated faces, remembered over many batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from training.distributed import ALONE, World

_LEAST: Final = 1e-3  # part of the remembered faces from which an emotion's mean is trusted
_JITTER: Final = 1e-6  # of the mean variance, so that the square root has a gradient where nothing varies


class Moments(nn.Module):
    """Frechet distances between generated and real faces in several sets of features (Heusel et al. 2017, eq. 6).

    A batch is far too small to know a covariance from, so mean and second moment are moving averages over ``memory``
    images, and the gradient flows through the newest batch's part of them, scaled as if it were the whole. The mean of
    each emotion is compared too, so that what is right on the whole is not right by exchanging emotions. Feature
    matching (Salimans et al. 2016, section 3.1) is the special case of one batch and its mean.

    Buffers hold what is remembered, so a run that goes on remembers it; the real side is measured anew.

    The distance's slope needs eigenvalues, which GPUs are slow at. What is remembered moves little in a step, so the
    slope may be kept for several: between them the distance is taken to be linear in the covariance.
    """

    images: Tensor
    mass: Tensor

    def __init__(self, sizes: Sequence[int], emotions: int, memory: float, *, keeps: bool = False) -> None:
        super().__init__()
        self.memory = memory
        self.keeps = keeps  # slopes, until they are to be found anew
        self.register_buffer("images", torch.zeros(()))  # how many are remembered, up to ``memory``
        self.register_buffer("mass", torch.zeros(emotions))  # part of them that each emotion alone was asked of
        for k, size in enumerate(sizes):
            self.register_buffer(f"mean{k}", torch.zeros(size))
            self.register_buffer(f"second{k}", torch.zeros(size, size))
            self.register_buffer(f"by_emotion{k}", torch.zeros(emotions, size))
            if keeps:
                self.register_buffer(f"slope{k}", torch.zeros(size, size))
                self.register_buffer(f"offset{k}", torch.zeros(()))
        self._sets = len(sizes)
        self._real: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def measure(self, batches: Iterable[tuple[Sequence[Tensor], Tensor]]) -> None:
        """Take the real side from batches of feature sets, each ``[N, D]``, and one-hot emotions ``[N, E]``."""
        sums: list[list[Tensor]] = []
        count, mass = 0, torch.zeros((), dtype=torch.float64)
        for sets, emotions in batches:
            wide, asked = [part.double() for part in sets], emotions.double()
            parts = [[x.sum(0), x.T @ x, asked.T @ x] for x in wide]
            sums = (
                parts
                if not sums
                else [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(sums, parts, strict=True)]
            )
            count, mass = count + len(emotions), mass.to(asked) + asked.sum(0)
        self._real = []
        for total, squares, by_emotion in sums:
            mean = total / count
            covariance = squares / count - torch.outer(mean, mean)
            values, vectors = torch.linalg.eigh(covariance)
            root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
            means = by_emotion / mass.clamp_min(1).unsqueeze(1)
            self._real.append((mean.float(), root.float(), covariance.trace().float(), means.float()))

    def forward(
        self,
        sets: Sequence[Tensor],
        emotions: Tensor,
        weights: Tensor,
        world: World = ALONE,
        *,
        anew: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Remember a batch and tell how far the remembered faces are from real ones.

        Args:
            sets: features of generated faces, float32 ``[N, D_k]`` each, with the graph to them.
            emotions: what was asked for, ``[N, E]``; those that are one emotion alone count for that emotion's mean.
            weights: ``[N]``, mean 1 over the data: how often each face stands for its like among real ones.
            anew: find the slopes that are kept anew, as at first and after every few steps.

        Returns:
            For each set its Frechet distance / variance of real faces, and the mean squared distance of the emotions'
            means / that variance, ``[K]`` both, with a gradient as large as if the batch were all that is remembered.
        """
        n = len(emotions) * world.size
        keep = torch.clamp(self.images / (self.images + n), max=1 - n / max(self.memory, n))
        self.images.copy_(torch.clamp(self.images + n, max=self.memory))
        alone = emotions * (emotions.max(1, keepdim=True).values > 1 - 1e-6)
        share = (weights / world.total(weights.sum())).unsqueeze(1)
        self.mass.lerp_(world.total(alone.sum(0)) / n, 1 - keep)
        whole: list[Tensor] = []
        parted: list[Tensor] = []
        for k, x in enumerate(sets):
            mean = self._remember(f"mean{k}", world.total((share * x).sum(0)), keep)
            second = self._remember(f"second{k}", world.total((x * share).T @ x), keep)
            by_emotion = self._remember(f"by_emotion{k}", world.total(alone.T @ x) / n, keep)
            real_mean, root, variance, real_means = self._real[k]
            covariance = second - torch.outer(mean, mean)
            shared = self._shared(k, covariance, root, variance, anew=anew)
            frechet = (mean - real_mean).square().sum() + covariance.diagonal().sum() + variance - 2 * shared
            whole.append(frechet / variance)
            means = by_emotion / self.mass.clamp_min(_LEAST).unsqueeze(1)
            off = (means - real_means).square().sum(1) * (self.mass > _LEAST)
            parted.append(off.mean() / variance)
        gain = 1 / (1 - keep)
        return _louder(torch.stack(whole), gain), _louder(torch.stack(parted), gain)

    def _shared(self, k: int, covariance: Tensor, root: Tensor, variance: Tensor, *, anew: bool) -> Tensor:
        """Return the trace of (real covariance @ ``covariance``) ** 1/2, or where it is kept its tangent there."""
        floor = _JITTER * (variance / len(root)) ** 2
        if not self.keeps:
            return torch.linalg.eigvalsh(_inner(covariance, root, floor)).clamp_min(floor).sqrt().sum()
        slope, offset = getattr(self, f"slope{k}"), getattr(self, f"offset{k}")
        if anew:
            with torch.no_grad():
                values, vectors = torch.linalg.eigh(_inner(covariance, root, floor))
                values = values.clamp_min(floor)
                turned = root @ vectors
                slope.copy_((turned / (2 * values.sqrt())) @ turned.T)
                offset.copy_(values.sqrt().sum() - (slope * covariance).sum())
        tangent: Tensor = offset + (slope * covariance).sum()
        return tangent

    def _remember(self, name: str, new: Tensor, keep: Tensor) -> Tensor:
        old = getattr(self, name)
        moved: Tensor = old * keep + new * (1 - keep)
        old.copy_(moved.detach())
        return moved


def _inner(covariance: Tensor, root: Tensor, floor: Tensor) -> Tensor:
    """Return the symmetric matrix with the eigenvalues of (real covariance @ ``covariance``), raised a little."""
    inner = root @ covariance @ root
    return (inner + inner.T) / 2 + floor * torch.eye(len(root), device=root.device)


def _louder(value: Tensor, gain: Tensor) -> Tensor:
    """Return the same value with ``gain`` times its gradient."""
    return value.detach() + gain * (value - value.detach())

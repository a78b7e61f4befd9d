"""Which latent a seed is: the first of a row of its own that is accepted.

A generator is continuous and real faces come in kinds, so between kinds lie latents that it makes nothing of. Weights
may hold a small network that knows them (:mod:`training.reweight` fits it), and people are drawn by rejection: a seed
has a row of latents, and is the first whose uniform number is below its probability. So seeds draw the normal
distribution times that probability (Issenhuth et al. 2022, "Latent reweighting, an almost free improvement for GANs").
The emotion has no part in it: a seed stays one person.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from model.layers import Linear
from model.seeds import candidates

if TYPE_CHECKING:
    from model.generator import AnyGenerator

#: Latents that a seed has. If none is accepted, which one seed in 1,300 meets where a fifth of latents is, the most
#: probable of them is the person.
TRIES: Final = 32
_AT_ONCE: Final = 8  # looked at; enough for five seeds in six where a fifth of latents is accepted
_KEPT: Final = 4096  # latents of people asked for lately; 3 MB


class Acceptance(nn.Module):
    """A latent in, the logit of its probability to become a person out.

    Args:
        latent_dim: entries of a latent.
        widths: units of the hidden layers.
    """

    def __init__(self, latent_dim: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(Linear(i, o, gain=2**0.5) for i, o in pairwise((latent_dim, *widths)))
        self.logit = Linear(widths[-1], 1, gain=0.1)

    def forward(self, latent: Tensor) -> Tensor:
        """Judge latents, float ``[N, latent_dim]``, standard normal: logits ``[N]``."""
        for layer in self.hidden:
            latent = F.relu(layer(latent))
        logit: Tensor = self.logit(latent).squeeze(1)
        return logit


class People:
    """The latents of seeds, for one generator. Threads may call it at once."""

    def __init__(self, generator: AnyGenerator) -> None:
        self._size = generator.config.latent_dim
        acceptance = generator.acceptance
        # In float64, so that machines whose sums run in another order do not disagree about who a seed is.
        layers = [*acceptance.hidden, acceptance.logit] if acceptance is not None else []
        self._layers = [(_numpy(layer.weight).T, _numpy(layer.bias)) for layer in layers]
        self.latent: Callable[[int | str], NDArray[np.float32]] = lru_cache(_KEPT)(self._latent)
        """Return the latent of a seed, float32 ``[latent_dim]``, not to be written to; errors as
        :func:`model.seeds.seed_number`."""

    def _latent(self, seed: int | str) -> NDArray[np.float32]:
        found = self._first(seed) if self._layers else np.array(candidates(seed, self._size, 1)[0][0])
        found.setflags(write=False)
        return found

    def _first(self, seed: int | str) -> NDArray[np.float32]:
        best: NDArray[np.float32] = np.empty(0, np.float32)
        likely = -math.inf
        for begin in range(0, TRIES, _AT_ONCE):
            latents, uniform = candidates(seed, self._size, _AT_ONCE, begin)
            for latent, number, logit in zip(latents, uniform.tolist(), self._logits(latents).tolist(), strict=True):
                if math.log(number) - math.log1p(-number) < logit:  # number < sigmoid(logit)
                    return np.array(latent)
                if logit > likely:
                    best, likely = np.array(latent), logit
        return best

    def _logits(self, latents: NDArray[np.float32]) -> NDArray[np.float64]:
        x = latents.astype(np.float64)
        for n, (weight, bias) in enumerate(self._layers):
            x = x @ weight + bias
            if n + 1 < len(self._layers):
                x = np.maximum(x, 0)
        logits: NDArray[np.float64] = x[:, 0]
        return logits


def _numpy(tensor: Tensor) -> NDArray[np.float64]:
    return np.ascontiguousarray(tensor.detach().cpu().double().numpy())

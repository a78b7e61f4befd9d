"""Convolutions with fewer products: Winograd's minimal filtering, and its like for a convolution that doubles the size.

Where the products of a convolution are most of the time, an output is worth more additions. A row of outputs of a
convolution of three taps is written as ``outer @ ((kernel) * (inner @ row))``: ``inner`` adds inputs, each product
belongs to one of few kinds, and ``outer`` adds products (Winograd 1980; Lavin & Gray 2016, "Fast Algorithms for
Convolutional Neural Networks", section 4). A map has rows and columns, so each kind is a pair of them, and its products
are one matrix product over channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import polynomial
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# What a weight costs more than a product: it has to be fetched from afar, once for the few faces that are drawn at a
# time. And what a product of the small matrices costs. On an AMD EPYC (Zen 4) these choose what is fastest.
_FETCH: Final = 4
_SMALL: Final = 2
# Where the polynomials are evaluated. More than four outputs at a time would need points that cost digits.
_POINTS: Final = (0, 1, -1, 2, -2)
_TAPS: Final = 3


@dataclass(frozen=True, eq=False)
class Filtering:
    """How a convolution of a map with ``n`` entries a side is done; rows and columns alike.

    A map ``x [n, n, C]`` becomes ``[m, m, O]``: ``V = inner x inner^T`` has ``kinds * count`` entries a side, sorted
    by kind; its entries of the pair of kinds ``(p, q)`` are multiplied with ``kernel[p * kinds + q]``; and what comes
    of it is ``outer M outer^T``.
    """

    inner: Matrix  # [kinds * count, n]
    kernel: Matrix  # [kinds ** 2, C, O]
    outer: Matrix  # [m, kinds * count]

    @property
    def kinds(self) -> int:
        """Kinds of products in one direction."""
        return math.isqrt(len(self.kernel))

    @property
    def count(self) -> int:
        """Products of a kind in one direction."""
        return len(self.inner) // self.kinds

    @property
    def cost(self) -> float:
        """What it takes, in products."""
        _, inputs, outputs = self.kernel.shape
        (wide, n), m = self.inner.shape, len(self.outer)
        small: int = wide * n * (n + wide) * inputs + m * wide * (wide + m) * outputs
        return _cost(self.count**2, self.kernel.size) + _SMALL * small


def convolution(weight: Matrix, n: int) -> Filtering | None:
    """Return how to convolve ``[n, n, C]`` with ``weight [O, C, 3, 3]``, zeros around it, if that is worth it."""
    ways = [_tiled(weight, n, tile) for tile in (2, 3, 4) if n % tile == 0]
    return min((way for way in ways if way.cost < _cost(n**2, weight.size)), key=lambda way: way.cost, default=None)


def doubling(weight: Matrix, n: int) -> Filtering | None:
    """Return how to enlarge ``[n, n, C]`` twofold (nearest) and then convolve it as above, if that is worth it."""
    way = _doubled(weight, n)
    transposed = 16 * weight.shape[0] * weight.shape[1]  # weights: 4x4 taps
    return way if way.cost < _cost(n**2, transposed) else None


def _doubled(weight: Matrix, n: int) -> Filtering:
    """Give two outputs of each input, with three products a row, where a transposed convolution needs four.

    The two see three inputs, ``a``, ``b`` and ``c``, as ``a b b`` and ``b b c``. With taps ``u``, ``v`` and ``w`` they
    are ``u (a - b) + (u + v + w) b``, and the same product with ``b`` plus ``w (c - b)``.
    """
    inner, outer = np.zeros((3, n, n)), np.zeros((2 * n, 3, n))
    for at in range(n):
        inner[:, at, at] = -1, 1, -1
        inner[0, at, max(at - 1, 0)] += at > 0
        inner[2, at, min(at + 1, n - 1)] += at + 1 < n
        outer[2 * at : 2 * at + 2, :, at] = (1, 1, 0), (0, 1, 1)
    return _filtering(weight, inner, np.array([(1, 0, 0), (1, 1, 1), (0, 0, 1)]), outer)


def _tiled(weight: Matrix, n: int, tile: int) -> Filtering:
    """Give ``tile`` outputs at a time, of ``tile + 2`` inputs and products a row: Cook and Toom's F(tile, 3)."""
    kinds, count = tile + _TAPS - 1, n // tile
    points = _POINTS[: kinds - 1]
    others = [[other for other in points if other != point] for point in points]
    # Polynomials are evaluated at the points, and at infinity, where the highest coefficient alone counts.
    sums = np.zeros((kinds, kinds))
    for kind, roots in enumerate([*others, points]):
        coefficients = polynomial.polyfromroots(roots)
        sums[kind, : len(coefficients)] = coefficients
    scales = [np.prod(np.subtract(point, rest)) for point, rest in zip(points, others, strict=True)]
    taps = np.vstack([np.vander(points, _TAPS, increasing=True) / np.reshape(scales, (-1, 1)), np.eye(_TAPS)[-1]])
    outputs = np.vstack([np.vander(points, tile, increasing=True), np.eye(tile)[-1]]).T

    inner, outer = np.zeros((kinds, count, n + 2)), np.zeros((n, kinds, count))
    for at in range(count):
        inner[:, at, at * tile : at * tile + kinds] = sums
        outer[at * tile : (at + 1) * tile, :, at] = outputs
    return _filtering(weight, inner[:, :, 1:-1], taps, outer)


def _filtering(weight: Matrix, inner: Matrix, taps: Matrix, outer: Matrix) -> Filtering:
    kernel = np.einsum("pk,oikl,ql->pqio", taps, weight, taps)
    return Filtering(
        inner=inner.reshape(-1, inner.shape[-1]),
        kernel=kernel.reshape(-1, *kernel.shape[2:]),
        outer=outer.reshape(len(outer), -1),
    )


def _cost(places: int, weights: int) -> float:
    """Return what it takes to multiply by so many weights, each in so many places."""
    return weights * (places + _FETCH)

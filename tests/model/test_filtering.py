"""Convolutions in fewer products give what the convolutions of their definition give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from model import filtering
from model.filtering import Filtering


def _filtered(way: Filtering, x: np.ndarray) -> np.ndarray:
    """Do what a way says, to ``x [n, n, C]``."""
    kinds, count = way.kinds, way.count
    spread = np.einsum("ay,yxc,bx->abc", way.inner, x, way.inner)
    pairs = spread.reshape(kinds, count, kinds, count, -1).transpose(0, 2, 1, 3, 4).reshape(kinds**2, count**2, -1)
    products = (pairs @ way.kernel).reshape(kinds, kinds, count, count, -1).transpose(0, 2, 1, 3, 4)
    products = products.reshape(kinds * count, kinds * count, -1)
    return np.einsum("ya,abo,xb->yxo", way.outer, products, way.outer)


def _planes(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(2, 0, 1)[None]


def _case(seed: int, n: int, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal((n, n, inputs)), random.standard_normal((outputs, inputs, 3, 3))


seeds, channels = st.integers(0, 2**32 - 1), st.integers(1, 5)


@given(seed=seeds, tile=st.sampled_from([2, 3, 4]), tiles=st.integers(1, 4), inputs=channels, outputs=channels)
def test_a_convolution_in_tiles_is_the_convolution(seed, tile, tiles, inputs, outputs):
    n = tile * tiles
    x, weight = _case(seed, n, inputs, outputs)
    way = filtering._tiled(weight, n, tile)
    assert (way.kinds, way.count) == (tile + 2, tiles)  # of 9 * tile ** 2 products a tile, (tile + 2) ** 2 are left
    expected = F.conv2d(_planes(x), torch.from_numpy(weight), padding=1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(_filtered(way, x), expected, atol=1e-9)


@given(seed=seeds, n=st.integers(1, 9), inputs=channels, outputs=channels)
def test_a_doubling_in_three_products_is_upsampling_and_a_convolution(seed, n, inputs, outputs):
    x, weight = _case(seed, n, inputs, outputs)
    way = filtering._doubled(weight, n)
    assert (way.kinds, way.count) == (3, n)
    large = F.interpolate(_planes(x), scale_factor=2, mode="nearest")
    expected = F.conv2d(large, torch.from_numpy(weight), padding=1)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(_filtered(way, x), expected, atol=1e-9)


def test_fewer_products_are_taken_only_where_they_are_worth_their_additions():
    wide, narrow = np.zeros((256, 256, 3, 3)), np.zeros((2, 2, 3, 3))
    assert [way and way.kinds for way in (filtering.convolution(wide, n) for n in (5, 6, 12))] == [None, 5, 6]
    assert [way and way.kinds for way in (filtering.doubling(wide, n) for n in (6, 48))] == [3, None]
    assert filtering.convolution(narrow, 12) is None
    assert filtering.doubling(narrow, 12) is None


@pytest.mark.parametrize("n", [6, 12])
def test_what_is_chosen_costs_less_than_what_is_not(n):
    weight = np.zeros((128, 256, 3, 3))
    chosen = filtering.convolution(weight, n)
    assert chosen is not None
    assert chosen.cost == min(filtering._tiled(weight, n, tile).cost for tile in (2, 3, 4) if n % tile == 0)
    assert chosen.cost < n**2 * weight.size

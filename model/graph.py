"""The residual generator as OpenVINO's graph, with everything computed that can be computed once.

Batch norm is folded into the styles' gains and biases, the embedding of an emotion into both, and upsampling into the
convolution after it; and in float32 a convolution does fewer products than its definition has
(:mod:`model.filtering`). Maps are ``[n, height, width, channels]`` throughout.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

from model import filtering
from model.generator import Generator
from model.layers import ConditionalBatchNorm2d, Conv2d, GeneratorBlock, Linear

# Its import tells its makers over the network of every start, unless there is nothing to tell it with: who draws faces
# here is nobody's business, and a closed network has no such place to tell.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

if TYPE_CHECKING:
    from openvino import Node

    from model.filtering import Filtering, Matrix

#: One in a process, and for as long as the process runs. Each that goes frees the stack for signals it gave the thread
#: that was the first to use it, another's or not: a signal that comes later then ends the process.
CORE: Final = ov.Core()

#: Rows are what nearest upsampling by 2 and three taps after it come to: four taps of a transposed convolution.
_DOUBLING: Final = np.array([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], np.float64)
_LANES: Final = 16  # output channels that a convolution computes at a time, needed or not


def generator_graph(generator: Generator, *, exact: bool) -> ov.Model:
    """Build the graph that draws any number of faces; to one number it is compiled better (``ov.Model.reshape``).

    Args:
        generator: in evaluation mode; its batch norms' running statistics are used.
        exact: whether sums of numbers are as exact as the numbers, as in float32. In bfloat16 they are not, and a
            convolution in fewer products would be off by up to 20 grey levels.

    Returns:
        Latents float32 ``[n, latent_dim]`` and emotions float32 ``[n, len(emotions)]`` in, faces float32
        ``[n, resolution, resolution, channels]`` out, 0 black..255 white, not rounded.
    """
    config, side = generator.config, generator.base
    latent = op.parameter([-1, config.latent_dim], np.float32)
    emotion = op.parameter([-1, len(config.emotions)], np.float32)
    styles = _styles(generator, op.concat([latent, emotion], 1))
    x = _dense(generator, latent)
    for block in generator.blocks:
        assert isinstance(block, GeneratorBlock)
        h = _convolution(_norm(x, *next(styles)), block.conv1, side, exact)
        h = _doubling(_norm(h, *next(styles), planes_first=not exact), block.conv2, side, exact)
        x = _added(h, _pointwise(x, block.skip), side)
        side *= 2
    x = _head(_norm(x, *next(styles)), generator.head, side)
    x = op.multiply(op.add(op.tanh(x), _constant(1.0)), _constant(127.5))
    x = _transpose(_reshape(x, -1, side, side, config.channels, 2, 2), 0, 1, 4, 2, 5, 3)
    faces = _reshape(x, -1, config.resolution, config.resolution, config.channels)
    return ov.Model([faces], [latent, emotion], "generator")


def _dense(generator: Generator, latent: Node) -> Node:
    weight, bias = _numbers(generator.dense)
    channels, places = generator.config.widths[0], generator.base**2
    weight = weight.reshape(channels, places, -1).transpose(1, 0, 2).reshape(len(weight), -1)
    x = _affine(latent, weight, bias.reshape(channels, places).T.ravel())
    return _reshape(x, -1, generator.base, generator.base, channels)


# ---- styles ----


def _styles(generator: Generator, inputs: Node) -> Iterator[tuple[Node, Node]]:
    """Yield every norm's gains and biases, in the order of use: ``[n, 1, 1, channels]`` each, of one product."""
    norms: list[tuple[ConditionalBatchNorm2d, bool]] = []
    for n, block in enumerate(generator.blocks):
        assert isinstance(block, GeneratorBlock)
        told = n >= generator.config.unconditional_blocks
        norms += [(block.norm1, told), (block.norm2, told)]
    folded = [_folded(generator, norm, told) for norm, told in [*norms, (generator.norm, True)]]
    products = _affine(inputs, np.concatenate([w for w, _ in folded]), np.concatenate([b for _, b in folded]))
    widths = [len(bias) for _, bias in folded]
    for width, end in zip(widths, accumulate(widths), strict=True):
        middle, start = end - width // 2, end - width
        gain, bias = (_part(products, (1, a, b)) for a, b in ((start, middle), (middle, end)))
        yield _reshape(gain, -1, 1, 1, width // 2), _reshape(bias, -1, 1, 1, width // 2)


def _folded(generator: Generator, norm: ConditionalBatchNorm2d, told: bool) -> tuple[Matrix, Matrix]:
    """Return what makes a norm's gains, and below them its biases, of latent and emotion: ``[2 C, inputs]``, ``[2 C]``.

    ``(x - mean) / deviation * (1 + gain) + bias`` is ``x * a + b``, and ``a`` and ``b`` are as linear in the style as
    ``gain`` and ``bias`` are; so is the style in latent and emotion. ``told``: the norm hears of the emotion at all.
    """
    statistics = norm.norm
    assert statistics.running_mean is not None
    assert statistics.running_var is not None
    scale, mean = _array((statistics.running_var.double() + statistics.eps).rsqrt()), _array(statistics.running_mean)
    weight, bias = _numbers(norm.affine)
    size, embed = generator.config.latent_dim, _array(generator.embed.effective(torch.float32)[0])
    heard = weight[:, size:] @ embed if told else np.zeros((len(weight), embed.shape[1]))
    weight = np.concatenate([weight[:, :size], heard], axis=1)
    channels = len(scale)
    gain, gain_bias = weight[:channels] * scale[:, None], (1 + bias[:channels]) * scale
    shift, shift_bias = weight[channels:] - gain * mean[:, None], bias[channels:] - gain_bias * mean
    return np.concatenate([gain, shift]), np.concatenate([gain_bias, shift_bias])


def _norm(x: Node, gain: Node, bias: Node, *, planes_first: bool = False) -> Node:
    """Scale, shift and rectify.

    ``planes_first`` where ``x`` comes from a convolution of OpenVINO's and goes to one: it moves no number then.
    """
    if planes_first:
        return _planes_last(_norm(_planes_first(x), _planes_first(gain), _planes_first(bias)))
    return op.relu(op.add(op.multiply(x, gain), bias))


# ---- convolutions ----


def _convolution(x: Node, layer: Conv2d, side: int, exact: bool) -> Node:
    """Convolve with 3x3."""
    weight, bias = _numbers(layer)
    way = filtering.convolution(weight, side) if exact else None
    return _filtered(x, way, bias, side) if way is not None else _plain(x, weight, bias, [1, 1])


def _doubling(x: Node, layer: Conv2d, side: int, exact: bool) -> Node:
    """Enlarge twofold (nearest) and convolve with 3x3; else in one transposed convolution of 4x4, in 16 products where
    the two do 36."""
    weight, bias = _numbers(layer)
    way = filtering.doubling(weight, side) if exact else None
    if way is not None:
        return _filtered(x, way, bias, side)
    kernel = _constant(np.einsum("yt,xs,oits->ioyx", _DOUBLING, _DOUBLING, weight))
    x = op.convolution_backprop_data(_planes_first(x), kernel, [2, 2], None, [1, 1], [1, 1], [1, 1])
    return _planes_last(op.add(x, _constant(bias[:, None, None])))


def _filtered(x: Node, way: Filtering, bias: Matrix, side: int) -> Node:
    """Convolve with fewer products, as :class:`model.filtering.Filtering` says."""
    (wide, _), (_, inputs, outputs), large = way.inner.shape, way.kernel.shape, len(way.outer)
    kinds, count = way.kinds, way.count
    inner, outer = _constant(way.inner), _constant(way.outer)
    x = op.matmul(inner, _reshape(x, -1, side, side * inputs), False, False)
    x = op.matmul(inner, _reshape(x, -1, side, inputs), False, False)
    x = _transpose(_reshape(x, -1, kinds, count, kinds, count, inputs), 1, 3, 0, 2, 4, 5)
    x = op.matmul(_reshape(x, kinds**2, -1, inputs), _constant(way.kernel), False, False)
    x = _transpose(_reshape(x, kinds, kinds, -1, count, count, outputs), 2, 0, 3, 1, 4, 5)
    x = op.matmul(outer, _reshape(x, -1, wide, outputs), False, False)
    x = op.matmul(outer, _reshape(x, -1, wide, large * outputs), False, False)
    return op.add(_reshape(x, -1, large, large, outputs), _constant(bias))


def _pointwise(x: Node, layer: Conv2d) -> Node:
    """Convolve with 1x1."""
    weight = _array(layer.effective(torch.float32)[0])[:, :, 0, 0]
    return op.matmul(x, _constant(weight), False, True)


def _added(x: Node, small: Node, side: int) -> Node:
    """Add a map of half the size, enlarged twofold (nearest)."""
    channels = x.get_output_partial_shape(0)[3].get_length()
    twice = _reshape(x, -1, side, 2, side, 2, channels)
    return _reshape(op.add(twice, _reshape(small, -1, side, 1, side, 1, channels)), -1, 2 * side, 2 * side, channels)


def _head(x: Node, layer: Conv2d, side: int) -> Node:
    """Convolve with 3x3 to few channels; if there are very few, of each row first, for its three taps as channels."""
    weight, bias = _numbers(layer)
    outputs, inputs = weight.shape[:2]
    if -(-3 * outputs // _LANES) >= 3 * -(-outputs // _LANES):
        return _plain(x, weight, bias, [1, 1])
    spread = weight.transpose(3, 0, 1, 2).reshape(3 * outputs, inputs, 3, 1)
    x = _plain(x, spread, np.concatenate([0 * bias, bias, 0 * bias]), [1, 0])
    x = op.pad(x, integers(0, 0, 1, 0), integers(0, 0, 1, 0), "constant", op.constant(np.float32(0)))
    left, middle, right = (_part(x, (2, tap, tap + side), (3, tap * outputs, (tap + 1) * outputs)) for tap in range(3))
    return op.add(op.add(left, middle), right)


def _plain(x: Node, weight: Matrix, bias: Matrix, pads: list[int]) -> Node:
    x = op.convolution(_planes_first(x), _constant(weight), [1, 1], pads, pads, [1, 1])
    return _planes_last(op.add(x, _constant(bias[:, None, None])))


# ---- small things ----


def _affine(x: Node, weight: Matrix, bias: Matrix) -> Node:
    return op.add(op.matmul(x, _constant(weight), False, True), _constant(bias))


def _planes_first(x: Node) -> Node:
    return _transpose(x, 0, 3, 1, 2)


def _planes_last(x: Node) -> Node:
    return _transpose(x, 0, 2, 3, 1)


def _transpose(x: Node, *order: int) -> Node:
    return op.transpose(x, integers(*order))


def _reshape(x: Node, *shape: int) -> Node:
    return op.reshape(x, integers(*shape), False)


def _part(x: Node, *places: tuple[int, int, int]) -> Node:
    """Return what lies from ``start`` to ``end`` along each of some axes."""
    axes, starts, ends = zip(*places, strict=True)
    return op.slice(x, integers(*starts), integers(*ends), integers(*[1] * len(axes)), integers(*axes))


def _numbers(layer: Conv2d | Linear) -> tuple[Matrix, Matrix]:
    weight, bias = layer.effective(torch.float32)
    assert bias is not None
    return _array(weight), _array(bias)


def _array(tensor: Tensor) -> Matrix:
    return tensor.detach().double().cpu().numpy()


def _constant(values: Matrix | float) -> Node:
    return op.constant(np.ascontiguousarray(values, np.float32))


def integers(*values: int) -> Node:
    """Return integers as a node."""
    return op.constant(np.array(values, np.int64))

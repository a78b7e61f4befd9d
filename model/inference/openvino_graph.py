"""The style-based generator as an OpenVINO graph, built from the arrays of a weight file: no torch is needed.

What is computed is :class:`model.networks.style.StyleGenerator`. What depends on no input (scaled weights, the
embedding of emotions in the styles) is computed once, here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from model.networks.configs import StyleGeneratorConfig

# OpenVINO's import reports each start over the network unless its telemetry cannot be loaded.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

if TYPE_CHECKING:
    from openvino import Node

#: One for the whole process, kept until its end: when a Core is freed, it frees a signal stack that a thread may still
#: use, and the next signal then ends the process.
CORE: Final = ov.Core()

Arrays = Mapping[str, NDArray[Any]]

# As in model/networks/style.py, which needs torch; a test compares the images of both.
_SLOPE: Final = 0.2
_GAIN: Final = 2**0.5
_MAPPING_LR: Final = 0.1
_EMOTION_GAIN: Final = 0.5
_EPSILON: Final = 1e-8


def generator_graph(config: StyleGeneratorConfig, arrays: Arrays, count: int) -> ov.Model:
    """Build the graph that draws ``count`` faces.

    Args:
        config: of the generator.
        arrays: its tensors by name, as :meth:`model.networks.configs.StyleGeneratorConfig.shapes` lists them, of any
            float dtype.
        count: faces that a call draws.

    Returns:
        Latents float32 ``[count, latent_dim]``, emotions float32 ``[count, len(emotions)]`` and truncations float32
        ``[count, 1]`` in, images float32 ``[count, channels, resolution, resolution]`` out; black at -1, white at 1,
        not clamped.
    """
    return _Builder(config, arrays).graph(count)


class _Builder:
    def __init__(self, config: StyleGeneratorConfig, arrays: Arrays) -> None:
        self.config = config
        self.arrays = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
        self.embed = self.arrays["embed.weight"]

    def graph(self, count: int) -> ov.Model:
        config = self.config
        latent, emotion, truncation = (
            op.parameter([count, size], np.float32) for size in (config.latent_dim, len(config.emotions), 1)
        )
        w, average = self._map(latent), _constant(self.arrays["w_average"])
        w = op.add(op.multiply(op.subtract(w, average), truncation), average)
        inputs = op.concat([w, emotion], 1)
        x, image = _constant(self.arrays["constant"]), None
        sizes = config.sizes()
        for size in sizes:
            if size > sizes[0]:
                x = self._styled(x, f"synthesis.{size}.up", inputs, up=True)
            x = self._styled(x, f"synthesis.{size}.conv", inputs, up=False)
            pixels = self._to_image(x, f"synthesis.{size}.to_image", inputs)
            image = pixels if image is None else op.add(pixels, self._doubled(image, size))
        assert image is not None
        return ov.Model([image], [latent, emotion, truncation], "style_generator")

    def _map(self, latent: Node) -> Node:
        """w ``[count, w_dim]`` of latents."""
        w = _normalised(latent)
        for n in range(self.config.mapping_layers):
            weight, bias = self._weight(f"mapping.{n}", _MAPPING_LR), self.arrays[f"mapping.{n}.bias"] * _MAPPING_LR
            # The gain after the activation is put before it, which is the same.
            w = _leaky_relu(_affine(w, weight * _GAIN, bias * _GAIN))
        return w

    def _style(self, name: str, inputs: Node) -> Node:
        """The style of a layer, one entry per input channel, of w and emotion ``[count, w_dim + len(emotions)]``."""
        latent = self._weight(f"{name}.style_latent")
        emotion = _EMOTION_GAIN * self._weight(f"{name}.style_emotion") @ self.embed
        return _affine(inputs, np.concatenate([latent, emotion], axis=1), self.arrays[f"{name}.style_latent.bias"])

    def _styled(self, x: Node, name: str, inputs: Node, *, up: bool) -> Node:
        """A modulated and demodulated convolution with its activation; with ``up`` the image is doubled first."""
        weight = self._weight(name)
        style = _normalised(self._style(name, inputs))
        power = op.matmul(op.multiply(style, style), _constant(np.square(weight).sum(axis=(2, 3))), False, True)
        scale = op.divide(_constant(_GAIN), op.sqrt(op.add(power, _constant(_EPSILON))))
        x = op.multiply(x, _as_maps(style))
        if up:
            kernel = _constant(weight.transpose(1, 0, 2, 3))
            x = op.convolution_backprop_data(x, kernel, [2, 2], None, [0, 0], [0, 0], [1, 1])
            # The mean of 2x2 pixels, times 4: its sum.
            x = op.avg_pool(x, [1, 1], [0, 0], [0, 0], [2, 2], True)
            scale = op.multiply(scale, _constant(4.0))
        else:
            x = op.convolution(x, _constant(weight), [1, 1], [1, 1], [1, 1], [1, 1])
        bias = _constant(self.arrays[f"{name}.bias"].reshape(1, -1, 1, 1) * _GAIN)
        return _leaky_relu(op.add(op.multiply(x, _as_maps(scale)), bias))

    def _to_image(self, x: Node, name: str, inputs: Node) -> Node:
        x = op.multiply(x, _as_maps(self._style(name, inputs)))
        x = op.convolution(x, _constant(self._weight(name)), [1, 1], [0, 0], [0, 0], [1, 1])
        return op.add(x, _constant(self.arrays[f"{name}.bias"].reshape(1, -1, 1, 1)))

    def _doubled(self, image: Node, size: int) -> Node:
        """The image at twice its size, bilinearly."""
        sizes, axes = (op.constant(np.array(values, np.int64)) for values in ([size, size], [2, 3]))
        half_pixel = {
            "mode": "linear_onnx",
            "shape_calculation_mode": "sizes",
            "coordinate_transformation_mode": "half_pixel",
        }
        return op.interpolate(image, sizes, axes=axes, **half_pixel)

    def _weight(self, name: str, lr: float = 1.0) -> NDArray[np.float64]:
        """An equalised weight as it is used."""
        weight = self.arrays[f"{name}.weight"]
        scaled: NDArray[np.float64] = weight * (lr / np.sqrt(np.prod(weight.shape[1:])))
        return scaled


def _normalised(x: Node) -> Node:
    """Rows divided by their root mean square."""
    mean = op.reduce_mean(op.multiply(x, x), op.constant(np.array([1], np.int64)), keep_dims=True)
    return op.divide(x, op.sqrt(op.add(mean, _constant(_EPSILON))))


def _affine(x: Node, weight: NDArray[np.float64], bias: NDArray[np.float64]) -> Node:
    return op.add(op.matmul(x, _constant(weight), False, True), _constant(bias))


def _leaky_relu(x: Node) -> Node:
    return op.prelu(x, _constant(_SLOPE))


def _as_maps(x: Node) -> Node:
    """``[count, C]`` as ``[count, C, 1, 1]``."""
    return op.reshape(x, op.constant(np.array([0, 0, 1, 1], np.int64)), True)


def _constant(values: NDArray[np.float64] | float) -> Node:
    return op.constant(np.ascontiguousarray(values, np.float32))

"""The residual generator as a graph for CPUs, run by OpenVINO: the same faces in a fraction of the time.

What can be computed once is: batch norm is folded into the styles' gains and biases, the embedding of an emotion into
both, and upsampling into the convolution after it. OpenVINO then packs the weights once and fuses what follows a
convolution, and a face is one call that lets go of Python's lock, where torch takes it up again for each of forty
operations and waits for whatever else runs.
"""

from __future__ import annotations

import logging
import sys
import threading
from itertools import accumulate
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.generator import Floats, Generator, trial_inputs
from model.layers import ConditionalBatchNorm2d, Conv2d, GeneratorBlock

# Its import tells its makers over the network of every start, unless there is nothing to tell it with: who draws faces
# here is nobody's business, and a closed network has no such place to tell.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset13 as op  # noqa: E402

if TYPE_CHECKING:
    from openvino import Node

log = logging.getLogger(__name__)

#: One in a process, and for as long as the process runs. Each that goes frees the stack for signals it gave the thread
#: that was the first to use it, another's or not: a signal that comes later then ends the process.
CORE: Final = ov.Core()

_HINTS: Final = {"float32": "f32", "bfloat16": "bf16"}
#: Rows are what nearest upsampling by 2 and three taps after it come to: four taps of a transposed convolution.
_DOUBLING: Final = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float64)


class CompiledGenerator:
    """Draws with a copy of a generator's weights, as they are now. Threads may call it at once.

    Every core draws faces of its own, a few at a time, and waits for no other, for what two cores do to one face has
    to be put together after each layer: under load that costs half as much again. Only a lone face is drawn by all
    of them, in half the time, where the one before was alone too: under load there is nobody else only for a moment.

    Args:
        generator: in evaluation mode; its batch norms' running statistics are used.
        precision: of the arithmetic, ``float32`` or ``bfloat16``.
        threads: how many cores draw.
        largest: how many faces a core draws at a time, at most.
    """

    def __init__(self, generator: Generator, *, precision: str = "float32", threads: int = 1, largest: int = 8) -> None:
        self._config = generator.config
        self._precision = _HINTS[precision]
        self._threads = threads
        graph = _graph(generator)
        self._pools = {size: self._compile(graph, size, streams=threads) for size in _sizes(largest)}
        self._together = self._compile(graph, 1, streams=1) if threads > 1 else None
        self._calls = 0  # that are being answered
        self._begun = 0  # calls, ever
        self._quiet = False  # the last call was for one face, and nobody else called meanwhile
        self._lock = threading.Lock()
        if not self._agree():
            log.info("fewer than %d faces at a time would differ by a bit, so a core always draws as many", largest)
            self._pools, self._together = {largest: self._pools[largest]}, None
        log.info("%d threads draw %s faces at a time in %s", threads, "/".join(map(str, self.sizes)), precision)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many faces a core draws at a time. What a face looks like, to the last bit, does not depend on it."""
        return tuple(self._pools)

    def __call__(self, latents: Floats, emotions: Floats) -> NDArray[np.uint8]:
        """Draw faces.

        Args:
            latents: float32 ``[n, latent_dim]``.
            emotions: float32 ``[n, len(emotions)]``, each row sums to 1.

        Returns:
            uint8 ``[n, resolution, resolution, channels]``, 0 black..255 white.
        """
        return np.rint(self.unrounded(latents, emotions)).astype(np.uint8)

    def unrounded(self, latents: Floats, emotions: Floats) -> Floats:
        """Draw as when called, float32."""
        faces = self._empty(len(latents))
        with self._lock:
            others = self._calls
            self._calls += 1
            self._begun += 1
            call, lone = self._begun, len(latents) == 1 and not others
            together = lone and self._quiet
        try:
            if together and self._together is not None:
                self._draw([(self._together, slice(0, 1))], latents, emotions, faces)
                return faces
            cores = max(1, self._threads - others)
            at_once = cores * max(self.sizes)
            for start in range(0, len(latents), at_once):
                plan = self._plan(start, min(start + at_once, len(latents)), cores)
                self._draw(plan, latents, emotions, faces)
        finally:
            with self._lock:
                self._calls -= 1
                self._quiet = lone and call == self._begun
        return faces

    def _empty(self, count: int) -> Floats:
        side = self._config.resolution
        return np.empty((count, side, side, self._config.channels), np.float32)

    def _plan(self, start: int, end: int, cores: int) -> Plan:
        """Share faces out to cores, and each core's to as few draws as it can."""
        plan = []
        share = -(-(end - start) // cores)
        for first in range(start, end, share):
            at, last = first, min(first + share, end)
            while at < last:
                size = max((size for size in self.sizes if size <= last - at), default=min(self.sizes))
                plan.append((self._pools[size], slice(at, min(at + size, last))))
                at += size
        return plan

    @staticmethod
    def _draw(plan: Plan, latents: Floats, emotions: Floats, faces: Floats) -> None:
        """Draw all of a plan at once, into ``faces``."""
        begun = []
        for pool, part in plan:
            draw = pool.take()
            count = part.stop - part.start
            draw.latents[:count], draw.emotions[:count] = latents[part], emotions[part]
            draw.request.start_async()
            begun.append((pool, draw, part))
        for pool, draw, part in begun:
            draw.request.wait()
            faces[part] = draw.faces[: part.stop - part.start]
            pool.give(draw)

    def _compile(self, graph: ov.Model, size: int, streams: int) -> _Pool:
        graph = graph.clone()
        graph.reshape({place: [size, inputs.partial_shape[1]] for place, inputs in enumerate(graph.inputs)})
        settings = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # other work has its right to the cores, and knows better where it is
        }
        return _Pool(CORE.compile_model(graph, "CPU", settings), size)

    def _agree(self) -> bool:
        """Tell whether every way to draw adds its sums up in the same order, on this machine: bit by bit."""
        most = max(self.sizes)
        latents, emotions = trial_inputs(self._config, most)
        expected, faces = self._empty(most), self._empty(most)
        self._draw([(self._pools[most], slice(0, most))], latents, emotions, expected)
        for pool in (self._together, *self._pools.values()):
            if pool is None:
                continue
            for at in range(0, most - pool.size + 1, pool.size):
                part = slice(at, at + pool.size)
                self._draw([(pool, part)], latents, emotions, faces)
                if not np.array_equal(faces[part], expected[part]):
                    return False
        return True


class _Draw:
    """A request to a compiled graph, with the memory that it reads and writes.

    OpenVINO would take arrays too, but to find out what it was given takes it 0.1 ms, with Python's lock held.
    """

    def __init__(self, compiled: Any) -> None:
        self.request = compiled.create_infer_request()
        self.latents, self.emotions = (self.request.get_input_tensor(place).data for place in (0, 1))
        self.faces: Floats = self.request.get_output_tensor(0).data


class _Pool:
    """Draws with one compiled graph; each can draw one batch of ``size`` faces at a time."""

    def __init__(self, compiled: Any, size: int) -> None:
        self.size = size
        self._compiled = compiled
        self._free: SimpleQueue[_Draw] = SimpleQueue()

    def take(self) -> _Draw:
        """Return one that is free, a new one if there is none: nobody waits here."""
        try:
            return self._free.get_nowait()
        except Empty:
            return _Draw(self._compiled)

    def give(self, draw: _Draw) -> None:
        """Let others have it."""
        self._free.put(draw)


#: What to draw with, and which faces.
Plan = list[tuple[_Pool, slice]]


def _sizes(largest: int) -> list[int]:
    """Return 1, 2, 4 and 8 up to ``largest``, and that; each has a copy of the weights, and more would gain little."""
    return [*(size for size in (1, 2, 4, 8) if size < largest), largest]


# ---- the graph ----


def _graph(generator: Generator) -> ov.Model:
    """Build the graph that draws any number of faces; to one number it is compiled better (``ov.Model.reshape``)."""
    config, base = generator.config, generator.base
    latent = op.parameter([-1, config.latent_dim], np.float32)
    emotion = op.parameter([-1, len(config.emotions)], np.float32)
    styles = _styles(generator, op.concat([latent, emotion], 1))
    weight, bias = generator.dense.effective(torch.float32)
    x = _reshape(_affine(latent, weight, bias), -1, base, base)
    for block in generator.blocks:
        assert isinstance(block, GeneratorBlock)
        h = _convolution(_norm(x, *next(styles)), block.conv1)
        h = _double(_norm(h, *next(styles)), block.conv2)
        x = op.add(h, _enlarge(_convolution(x, block.skip)))
    x = _convolution(_norm(x, *next(styles)), generator.head)
    x = op.tanh(op.depth_to_space(x, "depth_first", 2))
    x = op.multiply(op.add(x, _constant(torch.ones(()))), _constant(torch.tensor(127.5)))
    return ov.Model([op.transpose(x, _numbers(0, 2, 3, 1))], [latent, emotion], "generator")


def _styles(generator: Generator, inputs: Node) -> Any:
    """Yield every norm's gains and biases, in the order of use: ``[n, channels, 1, 1]`` each, of one product."""
    norms: list[tuple[ConditionalBatchNorm2d, bool]] = []
    for n, block in enumerate(generator.blocks):
        assert isinstance(block, GeneratorBlock)
        told = n >= generator.config.unconditional_blocks
        norms += [(block.norm1, told), (block.norm2, told)]
    folded = [_folded(generator, norm, told) for norm, told in [*norms, (generator.norm, True)]]
    products = _affine(inputs, torch.cat([weight for weight, _ in folded]), torch.cat([bias for _, bias in folded]))
    widths = [len(bias) for _, bias in folded]
    for (_, bias), end in zip(folded, accumulate(widths), strict=True):
        middle, start = end - len(bias) // 2, end - len(bias)
        yield tuple(
            _reshape(op.slice(products, _numbers(a), _numbers(b), _numbers(1), _numbers(1)), -1, 1, 1)
            for a, b in ((start, middle), (middle, end))
        )


def _folded(generator: Generator, norm: ConditionalBatchNorm2d, told: bool) -> tuple[Tensor, Tensor]:
    """Return what makes a norm's gains, and below them its biases, of latent and emotion: ``[2 C, inputs]``, ``[2 C]``.

    ``(x - mean) / deviation * (1 + gain) + bias`` is ``x * a + b``, and ``a`` and ``b`` are as linear in the style as
    ``gain`` and ``bias`` are; so is the style in latent and emotion. ``told``: the norm hears of the emotion at all.
    """
    statistics = norm.norm
    assert statistics.running_mean is not None
    assert statistics.running_var is not None
    scale = (statistics.running_var.double() + statistics.eps).rsqrt()
    weight, bias = (part.double() for part in norm.affine.effective(torch.float32) if part is not None)
    size, embed = generator.config.latent_dim, generator.embed.effective(torch.float32)[0].double()
    heard = weight[:, size:] @ embed if told else torch.zeros(len(weight), embed.shape[1], dtype=torch.float64)
    weight = torch.cat([weight[:, :size], heard], dim=1)
    channels = len(scale)
    gain, gain_bias = weight[:channels] * scale[:, None], (1 + bias[:channels]) * scale
    mean = statistics.running_mean.double()
    shift, shift_bias = weight[channels:] - gain * mean[:, None], bias[channels:] - gain_bias * mean
    return torch.cat([gain, shift]), torch.cat([gain_bias, shift_bias])


def _double(x: Node, layer: Conv2d) -> Node:
    """Enlarge twofold (nearest) and convolve with 3x3: one transposed convolution of 4x4 that does 16 products where
    the two do 36."""
    weight, bias = layer.effective(torch.float32)
    kernel = torch.einsum("yt,xs,oits->ioyx", _DOUBLING, _DOUBLING, weight.double())
    doubled = op.convolution_backprop_data(x, _constant(kernel), [2, 2], None, [1, 1], [1, 1], [1, 1])
    assert bias is not None
    return op.add(doubled, _constant(bias[None, :, None, None]))


def _convolution(x: Node, layer: Conv2d) -> Node:
    weight, bias = layer.effective(torch.float32)
    pads = [layer.padding] * 2
    convolved = op.convolution(x, _constant(weight), [1, 1], pads, pads, [1, 1])
    return convolved if bias is None else op.add(convolved, _constant(bias[None, :, None, None]))


def _norm(x: Node, gain: Node, bias: Node) -> Node:
    """Scale, shift and rectify."""
    return op.relu(op.add(op.multiply(x, gain), bias))


def _enlarge(x: Node) -> Node:
    """Enlarge twofold, nearest."""
    scales = op.constant(np.array([2, 2], np.float32))
    nearest = ("nearest", "scales", [0, 0], [0, 0], "asymmetric", "floor")
    return op.interpolate(x, scales, *nearest, axes=_numbers(2, 3))


def _affine(x: Node, weight: Tensor, bias: Tensor | None) -> Node:
    assert bias is not None
    return op.add(op.matmul(x, _constant(weight), False, True), _constant(bias[None]))


def _reshape(x: Node, *shape: int) -> Node:
    """Give each face another shape."""
    return op.reshape(x, _numbers(0, *shape), True)  # 0: as many faces as there were


def _constant(values: Tensor) -> Node:
    return op.constant(np.ascontiguousarray(values.detach().float().cpu().numpy()))


def _numbers(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))

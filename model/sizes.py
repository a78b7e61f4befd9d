"""One graph for batches of several sizes, each drawn as fast as if it were the only one.

OpenVINO plans a graph best for inputs of one size. But each graph that it compiles has weights and threads of its own:
with one for each of four sizes there are four times as many threads as cores, and two of them often wake up on one
core while another idles. Where sizes are mixed, a face takes a quarter to a third longer then. A branch for each size
is planned as well, and all share weights and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from model.graph import integers  # before OpenVINO, which model.graph keeps from calling home

import openvino as ov  # isort: skip
from openvino import opset13 as op  # isort: skip

if TYPE_CHECKING:
    from openvino import Node


def sized_graph(graph: ov.Model, sizes: Sequence[int]) -> ov.Model:
    """Build a graph that draws as many faces as it is told.

    Args:
        graph: draws any number of faces, as :func:`model.graph.generator_graph` says.
        sizes: how many there may be.

    Returns:
        A size int64 ``[1]``, latents float32 ``[largest, latent_dim]`` and emotions float32 ``[largest,
        len(emotions)]`` in, faces float32 ``[largest, resolution, resolution, channels]`` out, of which as many as the
        size says are drawn.
    """
    room = max(sizes)
    # A branch differs from a graph without any by some last bits: so there is one for a single size too.
    drawn = _nothing(fixed_graph(graph, room, room))
    for number in sorted(sizes, reverse=True):
        drawn = _branches(number, fixed_graph(graph, number, room), drawn)
    return drawn


def fixed_graph(graph: ov.Model, number: int, room: int) -> ov.Model:
    """Build a graph that draws the first ``number`` of ``room`` faces, whatever size it is told."""
    graph = graph.clone()
    graph.reshape({place: [number, inputs.partial_shape[1]] for place, inputs in enumerate(graph.inputs)})
    size, inputs = op.parameter([1], np.int64), []
    for parameter in graph.get_parameters():
        inputs.append(op.parameter([room, parameter.get_output_shape(0)[1]], np.float32))
        part = op.slice(inputs[-1], integers(0), integers(number), integers(1), integers(0))
        parameter.output(0).replace(part.output(0))
    faces = graph.get_results()[0].input_value(0)
    nothing, rest = integers(0, 0, 0, 0), integers(room - number, 0, 0, 0)
    faces = op.pad(faces, nothing, rest, "constant", op.constant(np.float32(0)))
    return ov.Model([faces], [size, *inputs], f"{number} of {room}")


def _nothing(graph: ov.Model) -> ov.Model:
    """Build a graph that draws no face, of the same form."""
    black = op.constant(np.zeros(graph.outputs[0].get_shape(), np.float32))
    return ov.Model([black], _inputs_like(graph), "nothing")


def _branches(number: int, small: ov.Model, large: ov.Model) -> ov.Model:
    """Build a graph that does as one says if the size is ``number``, and as the other says if not."""
    inputs = _inputs_like(small)
    branch = op.if_op(op.equal(inputs[0], integers(number)).output(0))
    branch.set_then_body(small)
    branch.set_else_body(large)
    for value, to_small, to_large in zip(inputs, small.get_parameters(), large.get_parameters(), strict=True):
        branch.set_input(value.output(0), to_small, to_large)
    faces = branch.set_output(small.get_results()[0], large.get_results()[0])
    return ov.Model([op.result(faces)], inputs, f"{number} or more")


def _inputs_like(graph: ov.Model) -> list[Node]:
    return [op.parameter(parameter.get_shape(), parameter.get_element_type()) for parameter in graph.get_parameters()]

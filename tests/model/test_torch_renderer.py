"""Torch draws every architecture, in few shapes, and goes on where memory is short."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.inference import torch_renderer
from model.inference.base import PRECISIONS
from model.inference.openvino_renderer import OpenVINORenderer
from model.inference.torch_renderer import TorchRenderer
from model.networks.checkpoint import generator_arrays
from tests.model.tiny import RESIDUAL, STYLE, batch_norm_generator, grey_levels, random_inputs

COUNT = 13
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def _part(inputs, rows):
    return [values[rows] for values in inputs]


@pytest.fixture(scope="module", params=["style", "residual"])
def network(request, generator, residual):
    return {"style": generator, "residual": residual}[request.param]


def test_it_rounds_what_the_network_draws(network):
    inputs = random_inputs(network.config, COUNT)
    expected = grey_levels(network, *inputs)
    faces = TorchRenderer(deepcopy(network))(*inputs)
    assert faces.dtype == np.uint8
    assert faces.shape == (COUNT, 16, 16, 1)
    assert expected.std(axis=0).mean() > 10
    assert np.abs(faces - expected).max() < 0.51


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=15, deadline=None)
@given(batch_size=st.integers(1, 6), order=st.lists(st.integers(0, COUNT - 1), max_size=COUNT))
def test_neither_padding_nor_company_nor_position_changes_a_face(network, precision, batch_size, order):
    renderer = TorchRenderer(network, precision=precision, batch_size=batch_size)
    assert renderer.batch_size == batch_size
    inputs = random_inputs(network.config, COUNT)
    together = renderer(*inputs)
    np.testing.assert_array_equal(renderer(*_part(inputs, order)), together[order])
    if order:
        np.testing.assert_array_equal(renderer(*_part(inputs, order[:1]))[0], together[order[0]])


def test_it_draws_style_based_faces_as_openvino_does(generator):
    inputs = random_inputs(STYLE, COUNT)
    by_torch = TorchRenderer(generator)(*inputs).astype(int)
    by_openvino = OpenVINORenderer(STYLE, generator_arrays(generator))(*inputs)
    assert np.abs(by_torch - by_openvino).max() <= 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_halves_the_batch_for_good(residual, monkeypatch, caplog, error):
    inputs = random_inputs(RESIDUAL, 11)
    expected = TorchRenderer(residual, batch_size=2)(*inputs)
    renderer = TorchRenderer(residual, batch_size=8)
    tried, draw = [], renderer._draw

    def scarce(*rows):
        tried.append(renderer.batch_size)
        if renderer.batch_size > 2:
            raise error("no more")
        return draw(*rows)

    monkeypatch.setattr(renderer, "_draw", scarce)
    np.testing.assert_array_equal(renderer(*inputs), expected)
    assert tried == [8, 4] + [2] * 6
    assert renderer.batch_size == 2
    assert caplog.messages == [f"out of memory: from now on {n} faces at a time" for n in (4, 2)]


def test_a_face_that_does_not_fit_alone_is_an_error(residual, monkeypatch):
    renderer = TorchRenderer(residual, batch_size=2)
    monkeypatch.setattr(renderer, "_draw", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no more")))
    with pytest.raises(torch.OutOfMemoryError):
        renderer(*random_inputs(RESIDUAL, 1))
    assert renderer.batch_size == 1


# ---- which shapes are captured, with a stand-in for CUDA graphs ----


class _Graph:
    """Draws eagerly what a CUDA graph would replay, brighter by ``brighter[size]``."""

    brighter: dict[int, int] = {}  # noqa: RUF012 (each test sets its own)

    def __init__(self, render, shapes, _device):
        self.render, self.size = render, shapes[0][0]
        assert {shape[0] for shape in shapes} == {self.size}

    def __call__(self, *inputs):
        assert len(inputs[0]) <= self.size
        padded = [np.pad(rows, ((0, 4 - len(rows)), *[(0, 0)] * (rows.ndim - 1))) for rows in inputs]
        faces = self.render(*(torch.from_numpy(rows) for rows in padded)).numpy()[: len(inputs[0])]
        return faces ^ self.brighter.get(self.size, 0)


@pytest.mark.parametrize(("differs", "left"), [((), (1, 2, 4)), ((1,), (2, 4)), ((1, 2), (4,)), ((4,), (1, 2, 4))])
def test_shapes_whose_bytes_differ_from_the_largests_are_not_drawn_in(residual, monkeypatch, caplog, differs, left):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch_renderer, "CapturedRenderer", _Graph)
    monkeypatch.setattr(_Graph, "brighter", dict.fromkeys(differs, 1))
    renderer = TorchRenderer(residual, batch_size=4)
    sizes, captured = renderer._capture((1, 2, 4))
    assert sizes == left
    assert sorted(captured) == sorted({1, 2, 4} - set(differs))
    assert caplog.messages == [f"a batch of {size} faces would differ by a bit, so none is drawn" for size in differs]
    inputs = random_inputs(RESIDUAL, 9)
    expected = renderer(*inputs)
    renderer._sizes, renderer._captured = sizes, captured
    for count in range(10):
        np.testing.assert_array_equal(renderer(*_part(inputs, slice(count))), expected[:count])


def test_out_of_memory_shrinks_no_graphs_because_they_have_their_memory(residual, monkeypatch):
    monkeypatch.setattr(torch_renderer, "CapturedRenderer", _Graph)
    renderer = TorchRenderer(residual, batch_size=4)
    renderer._sizes, renderer._captured = renderer._capture((1, 4))
    monkeypatch.setattr(renderer, "_draw", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no more")))
    with pytest.raises(torch.OutOfMemoryError):
        renderer(*random_inputs(RESIDUAL, 2))
    assert renderer.batch_size == 4


def test_a_graph_that_cannot_be_captured_is_done_without(residual, monkeypatch, caplog):
    class Refuses:
        def __init__(self, *_):
            raise RuntimeError("no\nbacktrace")

    monkeypatch.setattr(torch_renderer, "CapturedRenderer", Refuses)
    assert TorchRenderer(residual)._capture((1, 4)) == ((4,), {})
    assert caplog.messages == ["no CUDA graph of 1 faces, so each kernel is launched by itself: no"]


# ---- on a GPU ----


@needs_gpu
def test_a_gpu_draws_the_same_faces_within_two_grey_levels(network):
    inputs = random_inputs(network.config, COUNT)
    cpu = TorchRenderer(deepcopy(network))(*inputs).astype(int)
    gpu = TorchRenderer(deepcopy(network), device="cuda")
    assert np.abs(gpu(*inputs) - cpu).max() <= 2
    assert gpu.gpu_bytes > 0


@needs_gpu
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gpus_bytes_are_the_same_in_every_size_of_batch_and_thread_and_without_graphs(network, precision, caplog):
    renderer = TorchRenderer(deepcopy(network), device="cuda", precision=precision)
    assert not caplog.records, "it could not be captured"
    assert renderer._captured
    inputs = random_inputs(network.config, 70)
    with ThreadPoolExecutor(1) as other:
        together = other.submit(renderer, *inputs).result()
    for count in (1, 2, 8, 9, 64, 65):
        np.testing.assert_array_equal(renderer(*_part(inputs, slice(3, 3 + count))), together[3 : 3 + count])
    largest = renderer.batch_size
    renderer._sizes, renderer._captured = (largest,), {}
    np.testing.assert_array_equal(renderer(*inputs), together)


@needs_gpu
def test_a_gpu_that_is_full_halves_the_batch(monkeypatch):
    renderer = TorchRenderer(batch_norm_generator(), device="cuda", batch_size=4)
    inputs = random_inputs(RESIDUAL, 6)
    renderer._sizes, renderer._captured = (4,), {}
    eagerly = renderer._eagerly

    def scarce(size, *rows):
        if size > 1:
            raise torch.OutOfMemoryError("no more")
        return eagerly(size, *rows)

    monkeypatch.setattr(renderer, "_eagerly", scarce)
    assert renderer(*inputs).shape == (6, 16, 16, 1)
    assert renderer.batch_size == 1

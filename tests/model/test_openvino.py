"""OpenVINO draws what torch draws, and a face's bytes depend on nothing else in the batch."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from model.emotions import FERPLUS
from model.inference.base import PRECISIONS
from model.inference.openvino_graph import CORE, generator_graph
from model.inference.openvino_renderer import OpenVINORenderer, to_pixels
from model.networks.checkpoint import generator_arrays
from model.networks.configs import StyleGeneratorConfig
from model.networks.style import StyleGenerator
from tests.model.tiny import STYLE, STYLE48, grey_levels, random_inputs, style_generator

COUNT = 12


def _renderer(generator: StyleGenerator, **settings: Any) -> OpenVINORenderer:
    return OpenVINORenderer(generator.config, generator_arrays(generator), **settings)


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def drawn(precision, generator):
    """A renderer of one thread, inputs and their faces, each drawn alone."""
    renderer = _renderer(generator, precision=precision)
    inputs = random_inputs(STYLE, COUNT)
    alone = [renderer(*(rows[face : face + 1] for rows in inputs)) for face in range(COUNT)]
    return renderer, inputs, np.concatenate(alone)


configs = st.builds(
    lambda base, widths, **rest: StyleGeneratorConfig(base * 2 ** (len(widths) - 1), widths=widths, **rest),
    base=st.sampled_from([3, 4, 6, 8]),
    widths=st.sampled_from([(8,), (7, 5), (8, 8, 4)]),
    channels=st.sampled_from([1, 3]),
    emotions=st.sampled_from([("happy",), FERPLUS]),
    latent_dim=st.sampled_from([5, 16]),
    w_dim=st.sampled_from([6, 16]),
    mapping_layers=st.integers(1, 3),
    emotion_dim=st.sampled_from([3, 8]),
)


@settings(max_examples=12, deadline=None)
@given(config=configs, seed=st.integers(0, 2**32 - 1))
def test_it_draws_what_torch_draws(config, seed):
    generator = style_generator(config, seed)
    inputs = random_inputs(config, 6, seed)
    expected = grey_levels(generator, *inputs)
    assert expected.std() > 5
    faces = _renderer(generator)(*inputs)
    assert faces.dtype == np.uint8
    assert faces.shape == (6, config.resolution, config.resolution, config.channels)
    assert np.abs(faces - expected).max() < 0.6  # rounding, and a little arithmetic


def test_a_graph_of_several_faces_draws_them_all(generator):
    latents, emotions, truncations = random_inputs(STYLE, 5)
    compiled = CORE.compile_model(
        generator_graph(STYLE, generator_arrays(generator), 5), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    images = compiled([latents, emotions, truncations[:, None]])[0]
    assert images.shape == (5, 1, 16, 16)
    expected = grey_levels(generator, latents, emotions, truncations)
    np.testing.assert_allclose((images.transpose(0, 2, 3, 1) + 1).clip(0, 2) * 127.5, expected, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(order=st.lists(st.integers(0, COUNT - 1), min_size=0, max_size=2 * COUNT))
def test_a_faces_bytes_are_the_same_in_any_company_and_at_any_position(drawn, order):
    renderer, inputs, alone = drawn
    np.testing.assert_array_equal(renderer(*(rows[order] for rows in inputs)), alone[order])


@pytest.mark.parametrize("threads", [2, 3])
def test_a_faces_bytes_are_the_same_whoever_draws_at_once(generator, precision, drawn, threads):
    _, inputs, alone = drawn
    renderer = _renderer(generator, precision=precision, threads=threads)
    assert renderer.max_concurrency == threads + 1

    def draw(call: int) -> None:
        part = slice(call % COUNT, call % COUNT + 1 + call % 7)
        np.testing.assert_array_equal(renderer(*(rows[part] for rows in inputs)), alone[part])

    with ThreadPoolExecutor(renderer.max_concurrency) as pool:
        list(pool.map(draw, range(40)))


def test_bfloat16_draws_nearly_the_same_faces(generator):
    inputs = random_inputs(STYLE, 16)
    exact, coarse = (_renderer(generator, precision=one)(*inputs).astype(int) for one in PRECISIONS)
    difference = np.abs(exact - coarse)
    assert difference.max() < 24
    assert difference.mean() < 2
    if "BF16" in CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):  # elsewhere it computes in float32
        assert difference.max() > 0


def test_no_more_than_eight_threads_are_asked_for_and_a_batch_size_may_be_named(generator):
    renderer = _renderer(generator, threads=32, batch_size=3)
    assert (renderer.max_concurrency, renderer.batch_size) == (8, 3)


def test_pixels_are_rounded_and_clamped():
    images = np.array([-1.4, -1.0, -1 + 0.6 / 127.5, 0.0, 1 - 0.6 / 127.5, 1.0, 1.4], np.float32).reshape(1, 1, 1, 7)
    assert to_pixels(images).ravel().tolist() == [0, 0, 1, 128, 254, 255, 255]
    planes = np.stack([np.full((2, 3), value, np.float32) for value in (-1, 0, 1)])[None]
    assert to_pixels(planes)[0, 1, 2].tolist() == [0, 128, 255]


@pytest.mark.real_data
@pytest.mark.skipif(not STYLE48.is_dir(), reason="needs the prototype in ../shared/style48")
def test_it_draws_what_the_prototype_draws():
    config = StyleGeneratorConfig(emotions=FERPLUS)
    arrays = load_file(STYLE48 / "generator_ema.safetensors")
    with np.load(STYLE48 / "reference.npz") as reference:
        latents, emotions, image = (reference[name] for name in ("latent", "emotion", "image_psi08"))
    inputs = latents, emotions, np.full(len(latents), 0.8, np.float32)
    expected = (image.transpose(0, 2, 3, 1) + 1).clip(0, 2) * 127.5
    exact = OpenVINORenderer(config, arrays)(*inputs)
    assert np.abs(exact - expected).max() < 0.6
    coarse = OpenVINORenderer(config, arrays, precision="bfloat16")(*inputs)
    assert np.abs(coarse - expected).mean() < 2


def test_importing_it_calls_nobody():
    script = """
import socket, sys
def refuse(*_): raise AssertionError("it calls somebody")
socket.socket.connect = socket.getaddrinfo = refuse
import model.inference.openvino_renderer
import openvino.tools.ovc
assert openvino.tools.ovc.telemetry.__class__.__module__.endswith("telemetry_stub"), openvino.tools.ovc.telemetry
print("told nobody")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "told nobody\n", done.stderr


def test_a_signal_is_delivered_after_compiled_models_are_gone():
    # Each Core of OpenVINO brings a stack for signals along, and frees it from under the thread that it gave it to.
    script = """
import os, signal
from threading import Thread
from model.inference.openvino_renderer import OpenVINORenderer
from model.networks.checkpoint import generator_arrays
from model.networks.configs import StyleGeneratorConfig
from model.networks.style import StyleGenerator
caught = []
signal.signal(signal.SIGUSR1, lambda *_: caught.append("caught"))
config = StyleGeneratorConfig(resolution=8, widths=(4,), latent_dim=5, w_dim=4, emotion_dim=3)
arrays = generator_arrays(StyleGenerator(config))
for _ in range(2):
    pair = [OpenVINORenderer(config, arrays) for _ in range(2)]
    del pair[0]
    ending = Thread(target=pair.clear)
    ending.start()
    ending.join()
    os.kill(os.getpid(), signal.SIGUSR1)
print(*caught)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "caught caught\n"), done.stderr

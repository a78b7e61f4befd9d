"""The generator as OpenVINO runs it draws what torch draws, and every size of batch draws it to the last bit."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.compiled import CompiledGenerator, _sizes
from model.filtering import convolution, doubling
from model.generator import Generator, GeneratorConfig
from model.graph import generator_graph
from model.layers import GeneratorBlock
from model.sizes import fixed_graph


def _trained_a_little(config: GeneratorConfig) -> Generator:
    """A generator whose norms have seen faces and whose biases are not zero, as after training."""
    torch.manual_seed(1)
    generator = Generator(config)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(1.3).add_(torch.randn_like(parameter) * 0.05)
        for _ in range(3):
            emotions = torch.softmax(torch.randn(64, len(config.emotions)), 1)
            generator.train()(torch.randn(64, config.latent_dim), emotions)
    return generator.eval()


def _inputs(config: GeneratorConfig, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    emotions = random.dirichlet(np.ones(len(config.emotions)), count).astype(np.float32)
    return random.standard_normal((count, config.latent_dim), np.float32), emotions


configs = st.builds(
    GeneratorConfig,
    resolution=st.sampled_from([16, 24]),
    channels=st.sampled_from([1, 3]),
    latent_dim=st.sampled_from([5, 16]),
    emotion_dim=st.sampled_from([3, 8]),
    widths=st.sampled_from([(8,), (16, 8), (12, 8, 4)]),
    unconditional_blocks=st.just(0),
) | st.builds(
    GeneratorConfig,
    resolution=st.just(16),
    latent_dim=st.just(8),
    widths=st.just((12, 8, 4)),
    unconditional_blocks=st.sampled_from([1, 2]),
)


@settings(max_examples=25, deadline=None)
@given(config=configs, seed=st.integers(0, 2**32 - 1))
def test_it_draws_what_the_generator_draws(config, seed):
    generator = _trained_a_little(config)
    latents, emotions = _inputs(config, 4, seed)
    with torch.inference_mode():
        images = generator(torch.from_numpy(latents), torch.from_numpy(emotions))
    expected = images.permute(0, 2, 3, 1).add(1).mul(127.5).numpy()
    assert expected.std() > 1
    compiled = CompiledGenerator(generator, largest=4)
    drawn = compiled.unrounded(latents, emotions).copy()
    assert drawn.shape == (4, config.resolution, config.resolution, config.channels)
    np.testing.assert_allclose(drawn, expected, atol=0.02)
    np.testing.assert_array_equal(compiled(latents, emotions), np.rint(drawn))


@pytest.fixture(scope="module")
def wide():
    """One with maps and channels enough for convolutions in fewer products."""
    generator = _trained_a_little(GeneratorConfig(widths=(96, 96, 32), latent_dim=16, emotion_dim=8))
    first, second = generator.blocks
    assert isinstance(first, GeneratorBlock)
    assert isinstance(second, GeneratorBlock)
    for layer, way, n in ((first.conv1, convolution, 6), (first.conv2, doubling, 6), (second.conv1, convolution, 12)):
        assert way(layer.effective(torch.float64)[0].detach().numpy(), n) is not None
    return generator


@pytest.mark.parametrize(("precision", "atol"), [("float32", 0.02), ("bfloat16", 30)])
def test_so_it_does_in_fewer_products(wide, precision, atol):
    latents, emotions = _inputs(wide.config, 8)
    with torch.inference_mode():
        images = wide(torch.from_numpy(latents), torch.from_numpy(emotions))
    expected = images.permute(0, 2, 3, 1).add(1).mul(127.5).numpy()
    drawn = CompiledGenerator(wide, precision=precision).unrounded(latents, emotions)
    np.testing.assert_allclose(drawn, expected, atol=atol)
    assert np.abs(drawn - expected).mean() < atol / 10


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_bit_is_the_same_in_any_number_and_slot(wide, precision, threads):
    latents, emotions = _inputs(wide.config, 40)
    expected = CompiledGenerator(wide, precision=precision, largest=1).unrounded(latents, emotions)
    compiled = CompiledGenerator(wide, precision=precision, threads=threads, largest=8)
    assert compiled.sizes == (1, 2, 4, 8)
    for count in (*range(1, 20), 40):
        for start in range(0, 41 - count, 3):
            part = slice(start, start + count)
            np.testing.assert_array_equal(compiled.unrounded(latents[part], emotions[part]), expected[part])


def test_more_faces_at_a_time_need_no_more_sizes_than_pay():
    assert [_sizes(largest) for largest in (1, 2, 3, 8, 20)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 20]]


@pytest.mark.parametrize("threads", [1, 2])
def test_where_sizes_disagree_by_a_bit_one_is_left(generator, monkeypatch, caplog, threads):
    caplog.set_level(logging.INFO)
    latents, emotions = _inputs(generator.config, 11)
    expected = CompiledGenerator(generator, largest=1).unrounded(latents, emotions)
    other = deepcopy(generator)
    with torch.no_grad():
        other.head.bias.add_(1e-6)
    another = generator_graph(other, exact=True)
    monkeypatch.setattr(
        "model.sizes.fixed_graph",
        lambda graph, number, room: fixed_graph(another if number == 2 else graph, number, room),
    )
    compiled = CompiledGenerator(generator, threads=threads, largest=4)
    assert compiled.sizes == (4,)
    assert f"{threads} threads draw 4 faces at a time in float32" in caplog.text
    for count in range(1, 12):
        np.testing.assert_array_equal(compiled.unrounded(latents[:count], emotions[:count]), expected[:count])


def test_all_cores_draw_one_face_only_where_nobody_else_has_asked_lately(generator, monkeypatch):
    compiled = CompiledGenerator(generator, threads=2, largest=2)
    latents, emotions = _inputs(generator.config, 2)
    draw, by_all = compiled._draw, []
    meanwhile: list[Callable[[], object]] = []

    def drawing(pool, *rest):
        by_all.append(pool is compiled._together)
        if meanwhile:
            meanwhile.pop()()
        draw(pool, *rest)

    monkeypatch.setattr(compiled, "_draw", drawing)

    def lone():
        by_all.clear()
        compiled(latents[:1], emotions[:1])
        return by_all[0]

    assert [lone(), lone(), lone()] == [False, True, True]
    compiled(latents, emotions)
    assert [lone(), lone()] == [False, True]
    meanwhile.append(lambda: compiled(latents[:1], emotions[:1]))
    assert [lone(), lone(), lone()] == [True, False, True]


def test_a_start_is_told_to_nobody():
    script = """
import socket, sys
def refuse(*_): raise AssertionError("it calls somebody")
socket.socket.connect = socket.getaddrinfo = refuse
import model.compiled
import openvino.tools.ovc
assert openvino.tools.ovc.telemetry.__class__.__module__.endswith("telemetry_stub"), openvino.tools.ovc.telemetry
print("told nobody")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "told nobody\n", done.stderr


def test_a_signal_comes_through_whatever_was_compiled_and_gone_before():
    # Each core of OpenVINO used to bring a stack for signals along, and to free it from under the thread it gave it to.
    script = """
import os, signal
from threading import Thread
from model.compiled import CompiledGenerator
from model.generator import Generator, GeneratorConfig
from model.graph import generator_graph
caught = []
signal.signal(signal.SIGUSR1, lambda *_: caught.append("caught"))
generator = Generator(GeneratorConfig(resolution=16, latent_dim=5, emotion_dim=3, widths=(8,))).eval()
for _ in range(2):
    pair = [CompiledGenerator(generator, largest=1) for _ in range(2)]
    del pair[0]
    ending = Thread(target=pair.clear)
    ending.start()
    ending.join()
    os.kill(os.getpid(), signal.SIGUSR1)
print(*caught)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "caught caught\n"), done.stderr

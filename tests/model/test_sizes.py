"""One graph draws as many faces as it is told, and shares what it can between the sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.compiled import CompiledGenerator
from model.generator import Generator, GeneratorConfig, trial_inputs
from model.graph import CORE, generator_graph
from model.sizes import sized_graph

SIZES = (1, 2, 3, 8)
CONFIG = GeneratorConfig(resolution=24, widths=(12, 8), latent_dim=16, emotion_dim=8)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    return Generator(CONFIG).eval()


@pytest.fixture(scope="module")
def request_to_draw(generator):
    compiled = CORE.compile_model(
        sized_graph(generator_graph(generator, exact=True), SIZES), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return compiled.create_infer_request()


@pytest.mark.parametrize("size", SIZES)
def test_it_draws_as_many_as_it_is_told(generator, request_to_draw, size):
    latents, emotions = trial_inputs(CONFIG, max(SIZES))
    drawn = request_to_draw.infer([np.array([size]), latents, emotions])[0]
    with torch.inference_mode():
        images = generator(torch.from_numpy(latents), torch.from_numpy(emotions))
    expected = images.permute(0, 2, 3, 1).add(1).mul(127.5).numpy()
    assert drawn.shape == (max(SIZES), 24, 24, 1)
    np.testing.assert_allclose(drawn[:size], expected[:size], atol=0.02)
    assert not drawn[size:].any()


@pytest.mark.parametrize("size", [0, 4, 9])
def test_of_a_size_that_it_does_not_have_it_draws_nothing(request_to_draw, size):
    assert not request_to_draw.infer([np.array([size]), *trial_inputs(CONFIG, max(SIZES))])[0].any()


def test_a_single_size_draws_the_very_bits_that_it_draws_among_others(generator):
    latents, emotions = trial_inputs(CONFIG, 8)
    alone = CompiledGenerator(generator, largest=1).unrounded(latents, emotions)
    np.testing.assert_array_equal(CompiledGenerator(generator, largest=8).unrounded(latents, emotions), alone)

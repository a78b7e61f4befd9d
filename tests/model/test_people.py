"""Whom a seed becomes: one accepted latent, the same for every emotion and on every machine."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from model.emotions import FER2013, EmotionMix
from model.generator import Generator, GeneratorConfig
from model.people import TRIES, People
from model.sampler import FaceRequest, FaceSampler
from model.seeds import candidates
from model.weights import load_generator, save_weights


@pytest.fixture(scope="module")
def choosy() -> Generator:
    """A generator whose people are those with a large first entry: of latents, about one in six."""
    torch.manual_seed(0)
    made = Generator(
        GeneratorConfig(resolution=24, latent_dim=16, emotion_dim=8, widths=(32, 32), acceptance=(4, 4))
    ).eval()
    assert made.acceptance is not None
    with torch.no_grad():
        for layer in (*made.acceptance.hidden, made.acceptance.logit):
            layer.weight.zero_()
            layer.weight[0, 0] = 1
        made.acceptance.logit.weight.mul_(200)
        made.acceptance.logit.bias = torch.nn.Parameter(torch.tensor([-200.0]))  # ReLU(first entry) above 1
    return made


def test_without_a_network_that_accepts_the_first_latent_is_the_person(generator):
    people = People(generator)
    for seed in (0, 7, "Ada"):
        np.testing.assert_array_equal(people.latent(seed), candidates(seed, 16, 1)[0][0])


def test_a_person_is_the_first_latent_that_is_accepted(choosy):
    people = People(choosy)
    places = []
    for seed in range(300):
        latents, _ = candidates(seed, 16, TRIES)
        place = next(n for n, row in enumerate(latents) if np.array_equal(row, people.latent(seed)))
        assert latents[place, 0] > 0.96  # near 1, lots are drawn
        assert (latents[:place, 0] < 1.04).all()
        places.append(place)
    assert 3 < np.mean(places) < 8  # 1 / 0.159 - 1 = 5.3


def test_probabilities_are_kept(generator):
    half = _with_acceptance(generator, bias=-1.0)  # each latent is accepted with 0.269
    people = People(half)
    first = [np.array_equal(people.latent(seed), candidates(seed, 16, 1)[0][0]) for seed in range(2000)]
    assert abs(np.mean(first) - 0.2689) < 0.035  # 3.5 deviations


def test_where_none_is_accepted_the_likeliest_is_the_person(generator):
    never = _with_acceptance(generator, bias=-60.0, slope=1.0)
    latents, _ = candidates("nobody", 16, TRIES)
    np.testing.assert_array_equal(People(never).latent("nobody"), latents[latents[:, 0].argmax()])


def test_logits_may_be_far_from_0(generator):
    first = candidates(1, 16, 1)[0][0]
    np.testing.assert_array_equal(People(_with_acceptance(generator, bias=2000.0)).latent(1), first)
    People(_with_acceptance(generator, bias=-2000.0)).latent(1)


def test_numpys_logits_are_the_networks(generator):
    torch.manual_seed(1)
    config = GeneratorConfig(resolution=24, latent_dim=16, emotion_dim=8, widths=(32, 32), acceptance=(12, 6))
    made = Generator(config).eval()
    assert made.acceptance is not None
    latents, _ = candidates(3, 16, 50)
    exact = made.acceptance.double()
    with torch.no_grad():
        expected = exact(torch.from_numpy(latents).double()).numpy()
    np.testing.assert_allclose(People(made)._logits(latents), expected, rtol=1e-12)


def test_a_latent_cannot_be_written_to(choosy):
    with pytest.raises(ValueError, match="read-only"):
        People(choosy).latent(1)[0] = 0


def test_the_sampler_draws_these_people_from_a_file(choosy, tmp_path):
    save_weights(tmp_path / "choosy.safetensors", choosy, {})
    loaded, _, _ = load_generator(tmp_path / "choosy.safetensors")
    assert loaded.config.acceptance == (4, 4)
    sampler = FaceSampler.load(tmp_path / "choosy.safetensors", "cpu")
    latents = np.stack([sampler.latent(seed) for seed in (1, 2, "Ada")])
    assert (latents[:, 0] > 0.96).all()
    with pytest.raises(ValueError, match="whole number"):
        sampler.latent(True)  # though 1, which it equals, has been asked for
    mix = EmotionMix.parse("happy", FER2013)
    faces = sampler.sample([FaceRequest(mix, seed, 1.0, 0.8) for seed in (1, 2, "Ada")])
    vector = np.asarray(mix.vector(FER2013, 1.0), np.float32)
    np.testing.assert_array_equal(faces, sampler.draw(latents * np.float32(0.8), np.stack([vector] * 3)))


def _with_acceptance(generator: Generator, *, bias: float, slope: float = 0.0) -> Generator:
    """Return a copy whose acceptance has this logit, and ``slope`` times a latent's first entry where it is above 0."""
    from model.people import Acceptance

    changed = deepcopy(generator)
    changed.acceptance = Acceptance(16, (4,))
    with torch.no_grad():
        for layer in (*changed.acceptance.hidden, changed.acceptance.logit):
            layer.weight.zero_()
            layer.weight[0, 0] = 1
        changed.acceptance.logit.weight.mul_(slope)
        changed.acceptance.logit.bias = torch.nn.Parameter(torch.tensor([bias]))
    return changed

"""The one way to a face: the same request is the same bytes, in any company."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.emotions import FER2013, FERPLUS, EmotionMix, UnknownEmotion
from model.inference.base import PRECISIONS
from model.inference.openvino_renderer import OpenVINORenderer
from model.inference.torch_renderer import TorchRenderer
from model.sampler import DEFAULT_TRUNCATION, FaceRequest, FaceSampler
from model.seeds import MAX_SEED, latent
from tests.model.tiny import STYLE, grey_levels

HAPPY = EmotionMix.parse("happy", FER2013)
SEEDS = st.one_of(st.integers(0, MAX_SEED), st.text(min_size=1, max_size=256))
REQUESTS = st.builds(
    FaceRequest,
    st.sampled_from(FER2013).map(lambda name: EmotionMix.parse(name, FER2013)),
    SEEDS,
    st.floats(0, 1.5),
    st.floats(0, 1),
)


@pytest.fixture(scope="module", params=["style", "residual"])
def sampler(request, generator, residual):
    """One sampler that draws with OpenVINO, and one that draws with torch."""
    return FaceSampler({"style": generator, "residual": residual}[request.param], name="small", batch_size=4)


@pytest.fixture(scope="module")
def style_sampler(generator):
    return FaceSampler(generator, threads=1)


def test_style_based_generators_draw_with_openvino_on_cpus_and_the_others_with_torch(generator, residual):
    assert type(FaceSampler(generator)._render) is OpenVINORenderer
    assert type(FaceSampler(residual)._render) is TorchRenderer


def test_a_request_is_its_seeds_latent_its_mix_and_its_truncation(generator, style_sampler):
    mix = EmotionMix.parse({"happy": 0.7, "surprise": 0.3}, FER2013)
    requests = [FaceRequest(mix, 7, 0.5, 0.9), FaceRequest(HAPPY, "Ada"), FaceRequest(HAPPY, 7, 1.5, 0.0)]
    latents = np.stack([latent(seed, STYLE.latent_dim) for seed in (7, "Ada", 7)])
    emotions = np.zeros((3, 7), np.float32)
    emotions[0, [3, 5, 6]] = 0.35, 0.15, 0.5  # half the way from neutral
    emotions[1, 3] = 1
    emotions[2, [3, 6]] = 1.5, -0.5
    truncations = np.array([0.9, DEFAULT_TRUNCATION, 0.0], np.float32)
    expected = grey_levels(generator, latents, emotions, truncations)
    assert np.abs(style_sampler.sample(requests) - expected).max() < 0.6


@settings(max_examples=25, deadline=None)
@given(requests=st.lists(REQUESTS, min_size=1, max_size=12), data=st.data())
def test_a_face_depends_on_its_own_request_alone(sampler, requests, data):
    together = sampler.sample(requests)
    order = data.draw(st.permutations(range(len(requests))))
    np.testing.assert_array_equal(sampler.sample([requests[i] for i in order]), together[list(order)])
    alone = data.draw(st.integers(0, len(requests) - 1))
    np.testing.assert_array_equal(sampler.sample([requests[alone]])[0], together[alone])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_nor_does_it_depend_on_how_many_threads_draw_at_once(generator, precision):
    requests = [FaceRequest(HAPPY, seed) for seed in range(60)]
    expected = FaceSampler(generator, precision=precision, threads=1).sample(requests)
    sampler = FaceSampler(generator, precision=precision, threads=3)
    assert sampler.callers == 4

    def draw(seed):
        part = slice(seed, seed + 1 + seed % 17)
        np.testing.assert_array_equal(sampler.sample(requests[part]), expected[part])

    with ThreadPoolExecutor(sampler.callers) as threads:
        list(threads.map(draw, range(60)))


def test_every_slot_of_a_batch_gives_the_same_face(sampler):
    wanted, other = FaceRequest(HAPPY, 7), FaceRequest(EmotionMix.parse("sad", FER2013), "someone")
    first = sampler.sample([wanted])[0]
    assert first.std() > 10
    for slot in range(sampler.batch_size):
        company = [other] * sampler.batch_size
        company[slot] = wanted
        np.testing.assert_array_equal(sampler.sample(company)[slot], first)


def test_an_unknown_precision_is_refused(generator):
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, not 'float16'"):
        FaceSampler(generator, precision="float16")


def test_without_openvino_torch_draws_the_same_faces_and_says_that_it_is_slower(
    generator, path, style_sampler, monkeypatch, caplog
):
    requests = [FaceRequest(HAPPY, seed) for seed in range(9)]
    expected = style_sampler.sample(requests).astype(int)
    monkeypatch.setitem(sys.modules, "model.inference.openvino_renderer", None)
    for load in (lambda: FaceSampler(deepcopy(generator)), lambda: FaceSampler.load(path, "cpu")):
        caplog.clear()
        by_torch = load()
        assert type(by_torch._render) is TorchRenderer
        assert "takes longer than OpenVINO" in caplog.text
        assert np.abs(by_torch.sample(requests) - expected).max() <= 2


def test_no_requests_no_faces(sampler):
    assert sampler.sample([]).shape == (0, 16, 16, 1)


def test_seed_emotion_intensity_and_truncation_all_matter(sampler):
    base = FaceRequest(HAPPY, 1)
    others = [
        FaceRequest(HAPPY, 2),
        FaceRequest(EmotionMix.parse("fear", FER2013), 1),
        FaceRequest(HAPPY, 1, intensity=0.5),
        FaceRequest(HAPPY, 1, truncation=0.5),
    ]
    faces = sampler.sample([base, *others]).astype(int)
    assert (np.abs(faces[1:] - faces[0]).mean(axis=(1, 2, 3)) > 0.5).all()


def test_intensity_zero_is_neutral_and_truncation_zero_is_one_person(sampler):
    neutral = FaceRequest(EmotionMix.parse("neutral", FER2013), 5)
    a, b = sampler.sample([neutral, FaceRequest(HAPPY, 5, intensity=0.0)])
    np.testing.assert_array_equal(a, b)
    c, d = sampler.sample([FaceRequest(HAPPY, 5, truncation=0.0), FaceRequest(HAPPY, 6, truncation=0.0)])
    np.testing.assert_array_equal(c, d)


def test_draw_is_what_sample_does_with_latents_that_the_caller_has(sampler):
    seeds = (1, "Ada", MAX_SEED)
    latents = np.stack([sampler.latent(seed) for seed in seeds])
    assert latents.dtype == np.float32
    assert latents.shape == (3, STYLE.latent_dim)
    emotions = np.eye(7, dtype=np.float32)[[3, 3, 3]]
    for psi in (0.5, 1.0):
        expected = sampler.sample([FaceRequest(HAPPY, seed, truncation=psi) for seed in seeds])
        truncations = np.full(3, psi, np.float32)
        np.testing.assert_array_equal(sampler.draw(latents, emotions, truncations), expected)
    np.testing.assert_array_equal(sampler.draw(latents, emotions), expected)


def test_a_latent_is_the_callers_own_and_of_the_seed_however_it_is_spelled(style_sampler):
    mine = style_sampler.latent("7")
    np.testing.assert_array_equal(mine, latent(7, STYLE.latent_dim))
    mine[:] = 0
    np.testing.assert_array_equal(style_sampler.latent(7), latent(7, STYLE.latent_dim))
    with pytest.raises(ValueError, match="seed"):
        style_sampler.latent(-1)


def test_an_emotion_the_weights_lack_is_named(style_sampler):
    with pytest.raises(UnknownEmotion, match="contempt"):
        style_sampler.sample([FaceRequest(EmotionMix.parse("contempt", FERPLUS), 1)])


@pytest.mark.parametrize(
    ("name", "value"), [("intensity", -0.1), ("intensity", 1.6), ("intensity", float("nan")), ("truncation", 1.1)]
)
def test_other_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        FaceRequest(HAPPY, 1, **{name: value})


def test_numbers_that_are_equal_are_one_request():
    assert repr(FaceRequest(HAPPY, 1, intensity=-0.0, truncation=1)) == repr(FaceRequest(HAPPY, 1, 0, 1.0))


def test_what_is_known_of_weights_comes_from_their_file_or_is_told(path, generator):
    of_file = FaceSampler.load(path, "cpu", batch_size=3, threads=2)
    assert (of_file.name, of_file.card, of_file.device) == ("small", {"images_seen": 12}, "cpu")
    assert (of_file.batch_size, of_file.callers, of_file.gpu_bytes) == (3, 3, 0)
    assert (of_file.emotions, of_file.resolution, of_file.channels) == (FER2013, 16, 1)
    assert len(of_file.sha256) == 64
    told = FaceSampler(generator, card={"a": 1}, sha256="b", name="c")
    assert (told.card, told.sha256, told.name) == ({"a": 1}, "b", "c")


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cudafoo", "mps", "meta"])
def test_a_device_that_is_not_there_is_named(path, device):
    with pytest.raises(ValueError, match=rf"^device '{device}' is not available \(.*\); use 'cpu', or 'auto'[^.]*\.$"):
        FaceSampler.load(path, device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_faces_within_two_grey_levels(path, style_sampler):
    requests = [FaceRequest(HAPPY, seed) for seed in range(8)]
    gpu = FaceSampler.load(path, "auto")
    assert (gpu.device, gpu.callers) == ("cuda", 1)
    assert np.abs(gpu.sample(requests).astype(int) - FaceSampler.load(path, "cpu").sample(requests)).max() <= 2

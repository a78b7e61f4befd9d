"""The one way to a face: the same request is the same bytes, in any company."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.emotions import FER2013, EmotionMix, UnknownEmotion
from model.sampler import PRECISIONS, FaceRequest, FaceSampler
from model.seeds import MAX_SEED

HAPPY = EmotionMix.parse("happy", FER2013)
SEEDS = st.one_of(st.integers(0, MAX_SEED), st.text(min_size=1, max_size=256))
REQUESTS = st.builds(
    FaceRequest,
    st.sampled_from(FER2013).map(lambda name: EmotionMix.parse(name, FER2013)),
    SEEDS,
    st.floats(0, 1.5),
    st.floats(0, 1),
)


@pytest.fixture(scope="session")
def sampler(generator):
    return FaceSampler(generator, name="small", batch_size=4)


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=30, deadline=None)
@given(batch_size=st.integers(1, 9), requests=st.lists(REQUESTS, min_size=1, max_size=20), data=st.data())
def test_a_face_depends_on_its_own_request_alone(generator, precision, batch_size, requests, data):
    sampler = FaceSampler(generator, batch_size=batch_size, precision=precision)
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
        part = slice(seed, seed + 1 + seed % 17)  # one at a time, and more than a core takes at once
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


def test_the_precisions_draw_the_same_people(generator):
    requests = [FaceRequest(HAPPY, seed) for seed in range(8)]
    exact, coarse = (FaceSampler(generator, precision=one).sample(requests).astype(int) for one in PRECISIONS)
    assert 0 < np.abs(exact - coarse).max() < 24
    assert np.abs(exact - coarse).mean() < 3
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, not 'float16'"):
        FaceSampler(generator, precision="float16")


@pytest.fixture
def with_torch(generator, monkeypatch):
    """Makes samplers that draw as they do on a GPU, or where there is no OpenVINO."""
    monkeypatch.setitem(sys.modules, "model.compiled", None)
    return lambda **settings: FaceSampler(generator, **settings)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_size=st.integers(1, 9), requests=st.lists(REQUESTS, min_size=1, max_size=12), data=st.data())
def test_nor_does_it_where_torch_draws(with_torch, batch_size, requests, data):
    sampler = with_torch(batch_size=batch_size)
    alone = data.draw(st.integers(0, len(requests) - 1))
    np.testing.assert_array_equal(sampler.sample([requests[alone]])[0], sampler.sample(requests)[alone])


def test_torch_draws_the_same_faces_and_says_that_it_is_slower(generator, with_torch, caplog):
    requests = [FaceRequest(HAPPY, seed) for seed in range(9)]
    by_torch = with_torch().sample(requests).astype(int)
    assert "takes longer than OpenVINO" in caplog.text
    assert np.abs(by_torch - FaceSampler(deepcopy(generator)).sample(requests)).max() <= 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_halves_the_batch_and_goes_on(with_torch, monkeypatch, caplog, error):
    requests = [FaceRequest(HAPPY, seed) for seed in range(11)]
    plain = with_torch(batch_size=2).sample(requests)
    sampler = with_torch(batch_size=8)
    caplog.clear()
    shapes, draw = [], sampler._draw

    def scarce(latents, emotions):
        shapes.append(sampler.batch_size)
        if sampler.batch_size > 2:
            raise error("no more")
        return draw(latents, emotions)

    monkeypatch.setattr(sampler, "_draw", scarce)
    np.testing.assert_array_equal(sampler.sample(requests), plain)
    assert shapes == [8, 4] + [2] * 6
    assert sampler.batch_size == 2, "it does not try in vain each time"
    assert [record.message for record in caplog.records] == [
        f"out of memory: from now on {n} faces at a time" for n in (4, 2)
    ]


def test_a_face_that_does_not_fit_alone_is_an_error(with_torch, monkeypatch):
    sampler = with_torch(batch_size=2)
    monkeypatch.setattr(sampler, "_draw", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no more")))
    with pytest.raises(torch.OutOfMemoryError):
        sampler.sample([FaceRequest(HAPPY, 1)])
    assert sampler.batch_size == 1


def test_no_requests_no_faces(sampler):
    assert sampler.sample([]).shape == (0, 24, 24, 1)


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


def test_an_emotion_the_weights_lack_is_named(sampler):
    from model.emotions import FERPLUS

    with pytest.raises(UnknownEmotion, match="contempt"):
        sampler.sample([FaceRequest(EmotionMix.parse("contempt", FERPLUS), 1)])


@pytest.mark.parametrize(
    ("name", "value"), [("intensity", -0.1), ("intensity", 1.6), ("intensity", float("nan")), ("truncation", 1.1)]
)
def test_other_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        FaceRequest(HAPPY, 1, **{name: value})


def test_numbers_that_are_equal_are_one_request():
    assert repr(FaceRequest(HAPPY, 1, intensity=-0.0, truncation=1)) == repr(FaceRequest(HAPPY, 1, 0, 1.0))


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cudafoo", "mps", "meta"])
def test_a_device_that_is_not_there_is_named(tmp_path, device):
    with pytest.raises(ValueError, match=f"device '{device}' is not available"):
        FaceSampler.load(tmp_path / "absent.safetensors", device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_draws_the_same_faces_within_two_grey_levels(generator):
    requests = [FaceRequest(HAPPY, seed) for seed in range(8)]
    cpu = FaceSampler(deepcopy(generator)).sample(requests).astype(int)
    gpu = FaceSampler(deepcopy(generator), device="cuda").sample(requests).astype(int)
    assert np.abs(cpu - gpu).max() <= 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_graph_of_kernels_draws_what_they_draw_one_by_one_and_in_any_thread(generator, precision, caplog):
    sampler = FaceSampler(deepcopy(generator), device="cuda", batch_size=8, precision=precision)
    assert not caplog.records, "it could not be captured"
    requests = [FaceRequest(HAPPY, seed) for seed in range(13)]
    with ThreadPoolExecutor(1) as other:
        together = other.submit(sampler.sample, requests).result()
    np.testing.assert_array_equal(sampler.sample(requests[5:6])[0], together[5])
    sampler._captured = None
    np.testing.assert_array_equal(sampler.sample(requests), together)


def test_a_graph_that_cannot_be_captured_is_done_without(generator, monkeypatch, caplog):
    class Refuses:
        def __init__(self, *_):
            raise RuntimeError("no\nbacktrace")

    monkeypatch.setattr("model.captured.CapturedGenerator", Refuses)
    sampler = FaceSampler(deepcopy(generator))
    assert sampler._capture() is None
    assert "a CUDA graph of them cannot be used: no" in caplog.messages[0]
    assert "backtrace" not in caplog.text


def test_a_graph_that_draws_other_faces_is_done_without(generator, monkeypatch, caplog):
    class Draws:
        def __init__(self, render, latents, emotions, device):
            self.render = render

        def __call__(self, latents, emotions):
            return self.render(torch.from_numpy(latents).add(shift), torch.from_numpy(emotions)).numpy()

    monkeypatch.setattr("model.captured.CapturedGenerator", Draws)
    sampler = FaceSampler(deepcopy(generator))
    shift = 0.5
    assert sampler._capture() is None
    assert "it draws other faces" in caplog.text
    shift = 0.0
    assert sampler._capture() is not None

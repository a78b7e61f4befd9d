"""The classic networks: what their papers say of them, and what every network here promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import FaceRequest, FaceSampler
from model.emotions import FER2013, EmotionError, EmotionMix
from model.networks.build import build_discriminator, build_generator
from model.networks.checkpoint import load_generator, save_generator
from model.networks.configs import DISCRIMINATORS, GENERATORS

CLASSIC = ("dense", "convolutional")
DIGITS = tuple("0123456789")


def _generator(kind, resolution=16, channels=1, emotions=DIGITS, widths=(12, 8, 8)):
    torch.manual_seed(0)
    cls: Any = GENERATORS[kind]
    config = cls(
        resolution=resolution, channels=channels, emotions=emotions, widths=widths, latent_dim=6, emotion_dim=4
    )
    return build_generator(config)


def _discriminator(kind, resolution=16, channels=1, emotions=DIGITS, widths=(8, 8, 12), dropout=0.0):
    torch.manual_seed(0)
    own = {"emotion_dim": 4, "dropout": dropout} if kind == "dense" else {}
    cls: Any = DISCRIMINATORS[kind]
    config = cls(resolution=resolution, channels=channels, emotions=emotions, widths=widths, **own)
    return build_discriminator(config)


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(CLASSIC),
    resolution=st.integers(2, 8).map(lambda n: 8 * n),
    channels=st.sampled_from([1, 3]),
    emotions=st.integers(1, 12),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_they_work_at_every_size_in_grey_and_colour_for_any_vocabulary(kind, resolution, channels, emotions, dtype):
    names = tuple(f"e{n}" for n in range(emotions))
    emotion = torch.eye(emotions)[torch.arange(3) % emotions]
    faces = _generator(kind, resolution, channels, names)(torch.randn(3, 6, dtype=dtype), emotion)
    assert faces.shape == (3, channels, resolution, resolution)
    assert faces.dtype == dtype
    assert faces.abs().max() <= 1
    logit, named, latent = _discriminator(kind, resolution, channels, names)(faces, emotion)
    assert (logit.shape, named.shape, latent.shape) == ((3,), (3, 0), (3, 0))
    assert logit.dtype == torch.float32


def test_a_resolution_that_cannot_be_halved_is_the_convolutional_ones_only():
    for build in (_generator, _discriminator):
        with pytest.raises(ValueError, match=r"resolution 20 must be divisible by 2\*\*3"):
            build("convolutional", 20)
        assert build("dense", 20).config.resolution == 20


@pytest.mark.parametrize("kind", CLASSIC)
def test_gradients_reach_every_parameter(kind):
    generator, discriminator = _generator(kind), _discriminator(kind)
    emotion = torch.eye(10)
    discriminator(generator(torch.randn(10, 6), emotion), emotion).logit.square().sum().backward()
    for network in (generator, discriminator):
        silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent


@pytest.mark.parametrize("kind", CLASSIC)
def test_latent_and_emotion_change_the_image_and_the_emotion_changes_the_logit(kind):
    generator, discriminator = _generator(kind), _discriminator(kind)
    latent, emotion = torch.randn(10, 6), torch.eye(10)
    one = generator(latent[:1].expand(10, -1), emotion)
    assert (one.std(dim=0) > 0).all()
    assert (generator(latent, emotion[[3] * 10]).std(dim=0) > 0).all()
    image = torch.randn(1, 1, 16, 16).expand(10, -1, -1, -1)
    assert discriminator(image, emotion).logit.std() > 1e-3


@pytest.mark.parametrize("kind", CLASSIC)
def test_a_mix_of_emotions_is_embedded_as_the_mix_of_their_embeddings(kind):
    embed = _generator(kind).embed
    one = embed(torch.eye(10))
    torch.testing.assert_close(
        embed(0.7 * torch.eye(10)[:1] + 0.3 * torch.eye(10)[1:2]), 0.7 * one[:1] + 0.3 * one[1:2]
    )
    assert 0.3 < one.std() < 3  # as large as a latent's entries, so that neither drowns the other


def test_the_convolutional_ones_start_as_dcgan_says():
    generator = _generator("convolutional", 48, widths=(64, 32, 16))
    discriminator = _discriminator("convolutional", 48, widths=(16, 32, 64))
    drawn = 0
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            if parameter.dim() in (2, 4) and not name.startswith("embed."):
                assert parameter.std().item() == pytest.approx(0.02, rel=0.3), name
                assert abs(parameter.mean().item()) < 0.01, name
                drawn += 1
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1, abs=0.02)
                assert 0 < module.weight.std() < 0.05
    assert drawn == 9  # a dense layer and three transposed ones; three strided ones, the logit and the projection
    slopes = [module.negative_slope for module in discriminator.modules() if isinstance(module, torch.nn.LeakyReLU)]
    assert slopes == [0.2, 0.2, 0.2]


def test_dropout_is_the_dense_discriminators_and_only_in_training():
    discriminator = _discriminator("dense", dropout=0.5)
    image, emotion = torch.randn(4, 1, 16, 16), torch.eye(10)[:4]
    assert not torch.equal(discriminator(image, emotion).logit, discriminator(image, emotion).logit)
    discriminator.eval()
    assert torch.equal(discriminator(image, emotion).logit, discriminator(image, emotion).logit)


def test_the_convolutional_discriminator_has_no_state_but_its_parameters():
    # Batch norm's running statistics would change while it is frozen.
    assert not list(_discriminator("convolutional").buffers())


@pytest.fixture(scope="module", params=CLASSIC)
def sampler(request):
    generator = _generator(request.param, 24, 3, FER2013, (48, 32, 16))
    with torch.no_grad():
        generator.head.weight.mul_(4)  # loud enough for any mix-up to be seen
        for norm in generator.modules():
            if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                norm.momentum = None  # the statistics of one batch, whole
        generator.train()
        generator(torch.randn(256, 6), torch.eye(7)[torch.arange(256) % 7])
    return FaceSampler(generator, batch_size=4)


def test_the_same_request_is_the_same_bytes_in_any_company(sampler):
    requests = [FaceRequest(EmotionMix.parse(FER2013[n % 7], FER2013), n, 0.5 + n / 16) for n in range(16)]
    together = sampler.sample(requests)
    assert together.std(axis=0).mean() > 5
    for shift in range(1, 4):
        moved = sampler.sample(requests[shift:] + requests[:shift])
        np.testing.assert_array_equal(np.roll(moved, shift, axis=0), together)
    np.testing.assert_array_equal(sampler.sample(requests[5:6])[0], together[5])


@pytest.mark.parametrize("kind", CLASSIC)
def test_what_is_saved_is_what_is_loaded(kind, tmp_path):
    generator = _generator(kind, emotions=DIGITS)
    generator(torch.randn(32, 6), torch.eye(10)[torch.arange(32) % 10])  # batch norm's statistics travel too
    sha256 = save_generator(tmp_path / "digits.safetensors", generator, {}, torch.float32)
    loaded, _, found = load_generator(tmp_path / "digits.safetensors")
    assert (loaded.config, type(loaded), found) == (generator.config, type(generator), sha256)
    latent, emotion = torch.randn(10, 6), torch.eye(10)
    torch.testing.assert_close(loaded(latent, emotion), generator.eval()(latent, emotion))


@pytest.mark.parametrize("kind", CLASSIC)
def test_a_vocabulary_without_neutral_knows_no_intensity_but_one(kind):
    sampler = FaceSampler(_generator(kind), batch_size=4)
    seven = EmotionMix.parse("7", sampler.emotions)
    assert sampler.sample([FaceRequest(seven, 1)]).shape == (1, 16, 16, 1)
    for intensity in (0.0, 0.5, 1.5):
        with pytest.raises(EmotionError, match=r"know no 'neutral' to measure intensity from: it must be 1\.$"):
            sampler.sample([FaceRequest(seven, 1, intensity)])

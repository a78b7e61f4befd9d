"""Shapes, ranges and what the two networks promise about their inputs."""

from __future__ import annotations

import pytest
import torch

from model.discriminator import Discriminator, DiscriminatorConfig
from model.emotions import FER2013, FERPLUS
from model.generator import Generator, GeneratorConfig
from model.layers import ConditionalBatchNorm2d, Conv2d, Linear, power_iterate

SIZES = [(48, 1, (16, 16, 8)), (64, 3, (16, 16, 8, 8)), (32, 1, (8, 8))]


@pytest.mark.parametrize(("resolution", "channels", "widths"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_networks_work_at_other_sizes_and_in_colour(resolution, channels, widths, dtype):
    generator = Generator(GeneratorConfig(resolution, channels, FERPLUS, 12, 6, widths))
    discriminator = Discriminator(DiscriminatorConfig(resolution, channels, FERPLUS, (8, 8, 8)))
    emotion = torch.eye(8)[:3]
    faces = generator(torch.randn(3, 12, dtype=dtype), emotion)
    assert faces.shape == (3, channels, resolution, resolution)
    assert faces.dtype == dtype
    assert faces.abs().max() <= 1
    logits, named, _ = discriminator(faces, emotion)
    assert logits.shape == (3,)
    assert named.shape == (3, 8)
    assert logits.dtype == named.dtype == torch.float32


BAD = [
    {"resolution": 50},
    {"channels": 2},
    {"emotions": ("a", "a")},
    {"widths": ()},
    {"unconditional_blocks": 3},
    {"unconditional_blocks": -1},
    {"unconditional_blocks": 1, "architecture": "convolutional"},
]


@pytest.mark.parametrize("bad", BAD)
def test_a_generator_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"\.$"):
        GeneratorConfig(**bad)


def test_a_mix_of_emotions_is_embedded_as_the_mix_of_their_embeddings():
    generator = Generator(GeneratorConfig(resolution=24, widths=(8, 8)))
    one = generator.embed(torch.eye(7))
    mixed = generator.embed(torch.tensor([[0, 0, 0, 0.7, 0, 0.3, 0]]))
    torch.testing.assert_close(mixed[0], 0.7 * one[3] + 0.3 * one[5])


def test_latent_and_emotion_both_change_the_face(generator):
    latent = torch.randn(2, 16)
    emotion = torch.eye(7)
    a, b = generator(latent, emotion[[3, 3]]), generator(latent, emotion[[4, 4]])
    assert (a[0] - a[1]).abs().mean() > 0.05
    assert (a[0] - b[0]).abs().mean() > 0.01


def test_the_emotion_asked_for_changes_the_logit():
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(resolution=24, widths=(8, 16, 16)))
    image = torch.randn(7, 1, 24, 24)[:1].expand(7, -1, -1, -1)
    logits, named, _ = discriminator(image, torch.eye(len(FER2013)))
    assert logits.std() > 1e-4
    torch.testing.assert_close(named, named[:1].expand(7, -1))  # the emotion head must not be told the answer


@pytest.mark.parametrize("layer", [Conv2d(12, 20, spectral=True), Linear(30, 20, spectral=True)])
def test_spectral_norm_is_the_largest_singular_value(layer):
    with torch.no_grad():
        layer.weight.mul_(7)
    for _ in range(200):
        layer.power_iterate()
    weight, _ = layer.effective(torch.float32)
    assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1.0, abs=1e-3)


def test_gradients_reach_every_parameter():
    generator = Generator(GeneratorConfig(resolution=24, widths=(8, 8)))
    discriminator = Discriminator(DiscriminatorConfig(resolution=24, widths=(8, 8, 8)))
    emotion = torch.eye(7)
    logits, named, _ = discriminator(generator(torch.randn(7, 128), emotion), emotion)
    (logits.sum() + named.square().sum()).backward()
    for network in (generator, discriminator):
        silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent


@pytest.mark.parametrize("free", [0, 1, 2])
def test_unconditional_blocks_draw_the_same_for_every_emotion_and_the_others_do_not(free):
    torch.manual_seed(0)
    config = GeneratorConfig(resolution=32, latent_dim=16, emotion_dim=8, widths=(8, 8, 8), unconditional_blocks=free)
    generator = Generator(config).eval()
    drawn: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for number, block in enumerate(generator.blocks):
        block.register_forward_hook(lambda _module, _inputs, out, number=number: drawn[number].append(out))
    latent, emotion = torch.randn(2, 16), torch.eye(7)
    faces = [generator(latent, emotion[[asked, asked]]) for asked in (3, 4)]
    assert [torch.equal(*drawn[number]) for number in (0, 1)] == [number < free for number in (0, 1)]
    assert not torch.equal(*faces)  # the head's norm, at least, is told
    told = [
        module.affine.weight.shape[1] for module in generator.modules() if isinstance(module, ConditionalBatchNorm2d)
    ]
    assert told == [16] * 2 * free + [24] * (5 - 2 * free)


def test_without_spectral_norm_the_discriminator_is_plain_and_its_logits_are_of_the_order_of_one():
    torch.manual_seed(0)
    plain = Discriminator(DiscriminatorConfig(widths=(16, 32, 64, 64), spectral=False))
    assert not list(plain.buffers())
    assert {name for name, _ in plain.named_parameters()} == {
        name for name, _ in Discriminator(DiscriminatorConfig(widths=(16, 32, 64, 64))).named_parameters()
    }
    power_iterate(plain)  # nothing to do
    images, emotions = torch.rand(14, 1, 48, 48) * 2 - 1, torch.eye(7).repeat(2, 1)
    logits = plain(images, emotions).logit
    assert 0.01 < logits.std() < 3
    with torch.no_grad():  # nothing divides a weight by its norm
        plain.logit.weight.mul_(10)
        plain.project.weight.mul_(10)
    torch.testing.assert_close(plain(images, emotions).logit, 10 * logits)

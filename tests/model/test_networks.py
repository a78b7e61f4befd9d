"""Every architecture is built from its configuration; the residual pair keeps its promises about its inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.emotions import FER2013, FERPLUS
from model.networks.build import build_discriminator, build_generator
from model.networks.classic import (
    ConvolutionalDiscriminator,
    ConvolutionalGenerator,
    DenseDiscriminator,
    DenseGenerator,
)
from model.networks.configs import (
    DISCRIMINATORS,
    GENERATORS,
    ResidualDiscriminatorConfig,
    ResidualGeneratorConfig,
)
from model.networks.layers import Conv2d, Linear, power_iterate
from model.networks.residual import ResidualDiscriminator, ResidualGenerator
from model.networks.style import StyleDiscriminator, StyleGenerator

KINDS: dict[str, tuple[type[Any], type[Any]]] = {
    "style": (StyleGenerator, StyleDiscriminator),
    "residual": (ResidualGenerator, ResidualDiscriminator),
    "dense": (DenseGenerator, DenseDiscriminator),
    "convolutional": (ConvolutionalGenerator, ConvolutionalDiscriminator),
}


@pytest.mark.parametrize("architecture", GENERATORS)
def test_an_architecture_is_built_with_the_shapes_that_it_promises(architecture):
    generator_config = GENERATORS[architecture](24, 3, FERPLUS, (8, 8, 8), 12)
    discriminator_config = DISCRIMINATORS[architecture](24, 3, FERPLUS, (8, 8, 8))
    generator, discriminator = build_generator(generator_config), build_discriminator(discriminator_config)
    assert (type(generator), type(discriminator)) == KINDS[architecture]
    assert (generator.config, discriminator.config) == (generator_config, discriminator_config)
    faces = generator(torch.randn(4, 12), torch.eye(8)[:4], torch.full((4,), 0.5))
    assert faces.shape == (4, 3, 24, 24)
    logit, emotion, identity = discriminator(faces, torch.eye(8)[:4])
    assert logit.shape == (4,)
    assert emotion.shape == (4, 8 if architecture in ("style", "residual") else 0)
    assert identity.shape == (4, 128 if architecture == "style" else 0)


@pytest.mark.parametrize("architecture", ["residual", "dense", "convolutional"])
@torch.inference_mode()
def test_generators_without_w_scale_each_latent_by_its_truncation(architecture):
    torch.manual_seed(0)
    generator = build_generator(GENERATORS[architecture](16, 1, FER2013, (8, 8), 6)).eval()
    latent, emotion, psi = torch.randn(3, 6), torch.eye(7)[:3], torch.tensor([0.0, 0.5, 1.0])
    scaled = generator(latent * psi[:, None], emotion)
    assert (scaled - generator(latent, emotion))[:2].abs().amax(dim=(1, 2, 3)).min() > 1e-4
    torch.testing.assert_close(generator(latent, emotion, psi), scaled)


def test_real_and_generated_images_are_kept_apart_where_a_batch_is_looked_at_as_a_whole():
    apart = {architecture for architecture, (_, kind) in KINDS.items() if kind.separate_batches}
    assert apart == {"style", "convolutional"}


# ---- the residual pair ----

SIZES = [(48, 1, (16, 16, 8)), (64, 3, (16, 16, 8, 8)), (32, 1, (8, 8))]


@pytest.mark.parametrize(("resolution", "channels", "widths"), SIZES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_both_networks_work_at_other_sizes_and_in_colour(resolution, channels, widths, dtype):
    generator = ResidualGenerator(ResidualGeneratorConfig(resolution, channels, FERPLUS, widths, 12, 6))
    discriminator = ResidualDiscriminator(ResidualDiscriminatorConfig(resolution, channels, FERPLUS, (8, 8, 8)))
    emotion = torch.eye(8)[:3]
    faces = generator(torch.randn(3, 12, dtype=dtype), emotion)
    assert faces.shape == (3, channels, resolution, resolution)
    assert faces.dtype == dtype
    assert faces.abs().max() <= 1
    logits, named, _ = discriminator(faces, emotion)
    assert logits.shape == (3,)
    assert named.shape == (3, 8)
    assert logits.dtype == named.dtype == torch.float32


def test_a_resolution_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match=r"resolution 50 must be divisible by 2\*\*3"):
        build_generator(ResidualGeneratorConfig(resolution=50))
    with pytest.raises(ValueError, match=r"resolution 50 must be divisible by 2\*\*3"):
        build_discriminator(ResidualDiscriminatorConfig(resolution=50))
    with pytest.raises(ValueError, match="must have at least two widths"):
        build_discriminator(ResidualDiscriminatorConfig(widths=(8,)))


def test_a_mix_of_emotions_is_embedded_as_the_mix_of_their_embeddings(residual):
    one = residual.embed(torch.eye(7))
    mixed = residual.embed(torch.tensor([[0, 0, 0, 0.7, 0, 0.3, 0]]))
    torch.testing.assert_close(mixed[0], 0.7 * one[3] + 0.3 * one[5])


def test_latent_and_emotion_both_change_the_face(residual):
    latent = torch.randn(2, 8)
    emotion = torch.eye(7)
    a, b = residual(latent, emotion[[3, 3]]), residual(latent, emotion[[4, 4]])
    assert (a[0] - a[1]).abs().mean() > 0.05
    assert (a[0] - b[0]).abs().mean() > 0.01


def test_the_emotion_asked_for_changes_the_logit():
    torch.manual_seed(0)
    discriminator = ResidualDiscriminator(ResidualDiscriminatorConfig(resolution=24, widths=(8, 16, 16)))
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
    generator = ResidualGenerator(ResidualGeneratorConfig(resolution=24, widths=(8, 8)))
    discriminator = ResidualDiscriminator(ResidualDiscriminatorConfig(resolution=24, widths=(8, 8, 8)))
    emotion = torch.eye(7)
    logits, named, _ = discriminator(generator(torch.randn(7, 128), emotion), emotion)
    (logits.sum() + named.square().sum()).backward()
    for network in (generator, discriminator):
        silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent


def test_without_spectral_norm_the_discriminator_is_plain_and_its_logits_are_of_the_order_of_one():
    torch.manual_seed(0)
    plain = ResidualDiscriminator(ResidualDiscriminatorConfig(widths=(16, 32, 64, 64), spectral=False))
    assert not list(plain.buffers())
    spectral = ResidualDiscriminator(ResidualDiscriminatorConfig(widths=(16, 32, 64, 64)))
    assert {name for name, _ in plain.named_parameters()} == {name for name, _ in spectral.named_parameters()}
    power_iterate(plain)  # nothing to do
    images, emotions = torch.rand(14, 1, 48, 48) * 2 - 1, torch.eye(7).repeat(2, 1)
    logits = plain(images, emotions).logit
    assert 0.01 < logits.std() < 3
    with torch.no_grad():  # nothing divides a weight by its norm
        plain.logit.weight.mul_(10)
        plain.project.weight.mul_(10)
    torch.testing.assert_close(plain(images, emotions).logit, 10 * logits)

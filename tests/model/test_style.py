"""The style-based pair: what it computes, against a prototype and against its equations written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from model.emotions import FER2013, FERPLUS
from model.networks.build import build_discriminator, build_generator
from model.networks.configs import StyleDiscriminatorConfig, StyleGeneratorConfig
from model.networks.style import StyledConv, StyleDiscriminator, StyleGenerator, minibatch_deviation
from tests.model.tiny import STYLE, STYLE48, style_generator

DISCRIMINATOR = StyleDiscriminatorConfig(resolution=16, widths=(4, 8, 8), projection_dim=6, identity_dim=5)


def _discriminator(config: StyleDiscriminatorConfig = DISCRIMINATOR) -> StyleDiscriminator:
    torch.manual_seed(0)
    return StyleDiscriminator(config)


# ---- the prototype ----


@pytest.fixture(scope="module")
def reference() -> dict[str, torch.Tensor]:
    with np.load(STYLE48 / "reference.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def _prototype(network: Any, file: str, renamed: dict[str, str]) -> Any:
    tensors = {}
    for name, tensor in load_file(STYLE48 / file).items():
        for old, new in renamed.items():
            name = name.replace(old, new)
        tensors[name] = tensor.float()
    network.load_state_dict(tensors)
    return network.eval()


@pytest.mark.real_data
@pytest.mark.skipif(not STYLE48.is_dir(), reason="needs the prototype in ../shared/style48")
@torch.inference_mode()
def test_the_generator_reproduces_the_prototype(reference):
    generator = _prototype(StyleGenerator(StyleGeneratorConfig(emotions=FERPLUS)), "generator_ema.safetensors", {})
    latent, emotion = reference["latent"], reference["emotion"]
    torch.testing.assert_close(generator.map(latent), reference["w"], rtol=0, atol=1e-4)
    for psi, name in ((1.0, "image_psi1"), (0.8, "image_psi08")):
        image = generator(latent, emotion, torch.full((len(latent),), psi))
        torch.testing.assert_close(image, reference[name], rtol=0, atol=1e-4)


@pytest.mark.real_data
@pytest.mark.skipif(not STYLE48.is_dir(), reason="needs the prototype in ../shared/style48")
@torch.inference_mode()
def test_the_discriminator_reproduces_the_prototype(reference):
    renamed = {"block.48.": "blocks.0.", "block.24.": "blocks.1.", "block.12.": "blocks.2.", "epilogue.": "epilogue_"}
    discriminator = StyleDiscriminator(StyleDiscriminatorConfig(emotions=FERPLUS))
    discriminator = _prototype(discriminator, "discriminator.safetensors", renamed)
    logit, emotion, identity = discriminator(reference["image_psi1"], reference["emotion"])
    torch.testing.assert_close(logit, reference["logit"], rtol=0, atol=1e-4)
    torch.testing.assert_close(emotion, reference["emotion_logits"], rtol=0, atol=1e-4)
    torch.testing.assert_close(identity, reference["identity"], rtol=0, atol=1e-4)


# ---- the generator ----


def _styled_by_hand(layer: StyledConv, x: np.ndarray, w: np.ndarray, emotion: np.ndarray) -> np.ndarray:
    """StyleGAN2's equations 1 to 3 for one sample in float64: x ``[inputs, H, W]``, w and the embedded emotion."""
    stored = {name: tensor.double().numpy() for name, tensor in layer.state_dict().items()}
    of_w, of_emotion = stored["style_latent.weight"], stored["style_emotion.weight"]
    style = of_w @ w / np.sqrt(of_w.shape[1]) + stored["style_latent.bias"]
    style += 0.5 * of_emotion @ emotion / np.sqrt(of_emotion.shape[1])
    style /= np.sqrt((style**2).mean())
    weight = stored["weight"] / np.sqrt(stored["weight"][0].size) * style[None, :, None, None]
    weight /= np.sqrt((weight**2).sum(axis=(1, 2, 3), keepdims=True))
    if layer.up:
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        weight = weight[:, :, ::-1, ::-1]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    y = np.einsum("ihwkl,oikl->ohw", windows, weight) + stored["bias"][:, None, None]
    return np.where(y > 0, y, 0.2 * y) * np.sqrt(2)


@settings(max_examples=20, deadline=None)
@given(
    up=st.booleans(),
    inputs=st.integers(1, 6),
    outputs=st.integers(1, 6),
    size=st.integers(1, 7),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_styled_layer_modulates_and_demodulates_the_weight_of_each_sample(up, inputs, outputs, size, seed):
    torch.manual_seed(seed)
    layer = StyledConv(inputs, outputs, StyleGeneratorConfig(w_dim=5, emotion_dim=3), up=up)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, w, emotion = torch.randn(3, inputs, size, size), torch.randn(3, 5), torch.randn(3, 3)
    expected = [
        _styled_by_hand(layer, *(rows.double().numpy() for rows in sample))
        for sample in zip(x, w, emotion, strict=True)
    ]
    found = layer(x, w, emotion).detach().numpy()
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-3, atol=1e-4)


def test_a_mix_of_emotions_reaches_every_layer_as_the_mix_of_what_its_emotions_give(generator):
    heard: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output: heard.append(output))
        for name, module in generator.named_modules()
        if name.endswith("style_emotion")
    ]
    share = torch.tensor([0.0, 0, 0, 0.7, 0, 0.3, 0])
    try:
        with torch.inference_mode():
            generator.synthesize(torch.zeros(8, STYLE.w_dim), torch.cat([torch.eye(7), share[None]]))
    finally:
        for hook in hooks:
            hook.remove()
    assert len(heard) == 8  # two or three layers at each of three sizes
    for output in heard:
        assert output[:7].std(dim=0).max() > 0.01
        torch.testing.assert_close(output[7], share @ output[:7], rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_truncation_0_is_one_face_for_each_emotion_and_1_changes_nothing(generator):
    latent, emotion = torch.randn(14, STYLE.latent_dim), torch.eye(7).repeat_interleave(2, dim=0)
    average = generator(latent, emotion, torch.zeros(14))
    torch.testing.assert_close(average[::2], average[1::2], rtol=0, atol=1e-5)
    assert (average[::2].std(dim=0).mean()) > 0.01
    plain = generator(latent, emotion)
    assert (plain[::2] - plain[1::2]).abs().mean() > 0.05
    torch.testing.assert_close(generator(latent, emotion, torch.ones(14)), plain, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_each_row_has_its_own_truncation_which_is_a_distance_from_the_average_in_w(generator):
    latent, emotion = torch.randn(4, STYLE.latent_dim), torch.eye(7)[[3, 3, 4, 4]]
    psi = torch.tensor([0.0, 0.25, 0.5, 1.0])
    together = generator(latent, emotion, psi)
    w = generator.map(latent)
    for row, share in enumerate(psi):
        between = share * w[row] + (1 - share) * generator.w_average
        alone = generator.synthesize(between[None], emotion[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-4)


@torch.inference_mode()
def test_only_the_direction_of_a_latent_counts(generator):
    latent = torch.randn(5, STYLE.latent_dim)
    torch.testing.assert_close(generator.map(7 * latent), generator.map(latent), rtol=1e-4, atol=1e-4)
    assert generator.map(torch.zeros(1, STYLE.latent_dim)).isfinite().all()


@torch.inference_mode()
def test_latent_and_emotion_both_change_the_face(generator):
    latent, emotion = torch.randn(2, STYLE.latent_dim), torch.eye(7)
    happy, sad = generator(latent, emotion[[3, 3]]), generator(latent, emotion[[4, 4]])
    assert (happy[0] - happy[1]).abs().mean() > 0.05
    assert (happy - sad).abs().mean() > 0.02


@torch.inference_mode()
def test_images_in_bfloat16_are_near_those_in_float32_and_summed_in_float32(generator):
    latent, emotion = torch.randn(8, STYLE.latent_dim).bfloat16(), torch.eye(7)[torch.arange(8) % 7]
    coarse, exact = generator(latent, emotion), generator(latent.float(), emotion)
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).abs().max() < 0.3
    assert (coarse - exact).abs().mean() < 0.02


@settings(max_examples=20, deadline=None)
@given(
    base=st.sampled_from([1, 2, 3, 4, 6, 12]),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple),
    channels=st.sampled_from([1, 3]),
    emotions=st.integers(1, 9),
    latent_dim=st.integers(1, 5),
    w_dim=st.integers(1, 5),
    mapping_layers=st.integers(1, 4),
    emotion_dim=st.integers(1, 5),
)
def test_the_configuration_knows_the_shapes_of_all_tensors(base, widths, channels, emotions, **sizes):
    names = tuple(f"e{n}" for n in range(emotions))
    config = StyleGeneratorConfig(base * 2 ** (len(widths) - 1), channels, names, widths, **sizes)
    with torch.device("meta"):
        generator = StyleGenerator(config)
        assert config.shapes() == {name: tuple(tensor.shape) for name, tensor in generator.state_dict().items()}
        images = generator(torch.empty(2, config.latent_dim), torch.empty(2, emotions))
    assert images.shape == (2, channels, config.resolution, config.resolution)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"resolution": 80}, "resolution 80 must be 1 or 3 times a power of two"),
        ({"resolution": 36}, "resolution 36 must be 1 or 3 times a power of two"),
        ({"resolution": 2, "widths": (4, 4, 4)}, r"resolution 2 must be divisible by 2\*\*2"),
        ({"resolution": 48, "widths": (4,) * 6}, r"resolution 48 must be divisible by 2\*\*5"),
    ],
)
def test_a_generator_of_an_impossible_resolution_is_refused(changes, says):
    config = StyleGeneratorConfig(**changes)
    for use in (config.sizes, config.shapes, lambda: build_generator(config)):
        with pytest.raises(ValueError, match=says):
            use()


# ---- the discriminator ----


@pytest.mark.parametrize("count", [1, 3, 4, 6, 8, 12])
def test_minibatch_deviation_is_the_mean_deviation_within_each_group(count):
    x = np.random.default_rng(0).standard_normal((count, 3, 2, 5)).astype(np.float32)
    size = 4 if count % 4 == 0 else count
    expected = np.empty((count, 1, 2, 5))
    for first in range(count // size):
        members = list(range(first, count, count // size))
        assert len(members) == size
        variance = x[members].astype(np.float64).var(axis=0)
        expected[members] = np.sqrt(variance + 1e-8).mean()
    np.testing.assert_allclose(minibatch_deviation(torch.from_numpy(x)).numpy(), expected, rtol=1e-5)


def test_a_batch_of_copies_is_told_from_a_batch_of_different_images():
    discriminator = _discriminator()
    images, emotion = torch.rand(4, 1, 16, 16) * 2 - 1, torch.eye(7)[[3] * 4]
    among_others = discriminator(images, emotion).logit[0]
    among_copies = discriminator(images[:1].expand(4, -1, -1, -1), emotion).logit[0]
    assert (among_others - among_copies).abs() > 1e-3


def test_identity_embeddings_have_length_1():
    identity = _discriminator()(3 * torch.randn(8, 1, 16, 16), torch.eye(7)[torch.arange(8) % 7]).identity
    assert identity.shape == (8, 5)
    torch.testing.assert_close(identity.norm(dim=1), torch.ones(8))
    assert identity.std(dim=0).max() > 0.01


def test_the_emotion_asked_for_changes_the_logit_and_neither_the_emotion_seen_nor_the_identity():
    image = torch.randn(1, 1, 16, 16).expand(7, -1, -1, -1)
    logit, emotion, identity = _discriminator()(image, torch.eye(len(FER2013)))
    assert logit.std() > 0.01
    torch.testing.assert_close(emotion, emotion[:1].expand(7, -1))
    torch.testing.assert_close(identity, identity[:1].expand(7, -1))


def test_the_logit_is_linear_in_the_emotion():
    image = torch.randn(1, 1, 16, 16).expand(8, -1, -1, -1)
    share = torch.tensor([0.1, 0, 0, 0.6, 0, 0.3, 0])
    logit = _discriminator()(image, torch.cat([torch.eye(7), share[None]])).logit
    torch.testing.assert_close(logit[7], share @ logit[:7], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_discriminator_accepts_bfloat16_and_its_heads_give_float32(channels):
    discriminator = _discriminator(
        StyleDiscriminatorConfig(24, channels, FERPLUS, (4, 8, 8), projection_dim=6, identity_dim=5)
    )
    images, emotion = torch.rand(8, channels, 24, 24) * 2 - 1, torch.eye(8)
    exact, coarse = discriminator(images, emotion), discriminator(images.bfloat16(), emotion)
    for fine, rough in zip(exact, coarse, strict=True):
        assert rough.dtype == torch.float32
        assert 0 < (fine - rough).abs().max() < 0.1


@pytest.mark.parametrize("resolution", [18, 50])
def test_a_discriminator_of_an_impossible_resolution_is_refused(resolution):
    with pytest.raises(ValueError, match=rf"resolution {resolution} must be divisible by 2\*\*2"):
        build_discriminator(StyleDiscriminatorConfig(resolution, widths=(4, 4, 4)))


def test_gradients_reach_every_parameter():
    generator, discriminator = style_generator().train(), _discriminator()
    emotion = torch.eye(7)[torch.arange(8) % 7]
    images = generator(torch.randn(8, STYLE.latent_dim), emotion, torch.full((8,), 0.9))
    logit, named, identity = discriminator(images, emotion)
    (logit.square().sum() + named.square().sum() + (identity * torch.randn(8, 5)).sum()).backward()
    for network in (generator, discriminator):
        silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not silent

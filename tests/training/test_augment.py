"""Augmentation: exact at p = 0, each transformation as often as p says, differentiable, and steered."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from training.augment import NORMALS, UNIFORMS, augment, steer
from training.recipe import AugmentRecipe

#: In the order of their rows of uniform numbers.
TRANSFORMATIONS = ("shift", "scale", "stretch", "rotation", "contrast", "brightness", "square")
OFF = 1.0  # a uniform number that no probability exceeds


def _images(n: int = 64, channels: int = 1) -> Tensor:
    return torch.rand(n, channels, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _numbers(n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(NORMALS, n, generator=rng), torch.rand(UNIFORMS, n, generator=rng)


def _augment(images: Tensor, p: float, seed: int = 1) -> Tensor:
    return augment(images, torch.tensor(p), *_numbers(len(images), seed))


def _only(name: str, images: Tensor, normal: float = 1.0, places: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    """Apply one transformation, with given random numbers, to all images."""
    normals, uniforms = torch.full((NORMALS, len(images)), normal), torch.full((UNIFORMS, len(images)), OFF)
    uniforms[TRANSFORMATIONS.index(name)] = 0
    uniforms[-4:] = torch.tensor(places * 2).unsqueeze(1)
    return augment(images, torch.tensor(0.5), normals, uniforms)


def _changed(before: Tensor, after: Tensor) -> Tensor:
    return (after != before).flatten(1).any(1)


def test_at_zero_every_image_is_the_same_to_the_last_bit():
    images = _images()
    assert torch.equal(_augment(images, 0.0), images)


def test_at_one_every_image_changes_and_keeps_its_shape():
    for channels in (1, 3):
        images = _images(channels=channels)
        out = _augment(images, 1.0)
        assert out.shape == images.shape
        assert out.dtype == torch.float32
        assert out.isfinite().all()
        assert _changed(images, out).all()


@pytest.mark.parametrize("p", [0.1, 0.5])
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_each_transformation_is_applied_to_the_fraction_p_of_the_images(name, p):
    images = _images(1000)
    normals, uniforms = _numbers(1000)
    others = [row for row in range(7) if row != TRANSFORMATIONS.index(name)]
    uniforms[others] = OFF
    changed = _changed(images, augment(images, torch.tensor(p), normals, uniforms))
    assert changed.float().mean().item() == pytest.approx(p, abs=0.05)


def test_transformations_are_applied_independently_of_one_another():
    images = _images(1000)
    changed = _changed(images, _augment(images, 0.2))
    assert changed.float().mean().item() == pytest.approx(1 - 0.8**7, abs=0.05)


def test_a_shift_reaches_an_eighth_of_the_side():
    images = _images(4)
    out = _only("shift", images, places=(1.0, 0.5))
    torch.testing.assert_close(out[..., :-3], images[..., 3:], atol=1e-5, rtol=0)
    out = _only("shift", images, places=(0.5, 0.0))
    torch.testing.assert_close(out[..., 3:, :], images[..., :-3, :], atol=1e-5, rtol=0)


def test_scale_and_stretch_and_rotation_leave_the_middle_where_it_is():
    dot = torch.full((1, 1, 25, 25), -1.0)
    dot[..., 12, 12] = 1
    for name in ("scale", "stretch", "rotation"):
        out = _only(name, dot, normal=-1.0)
        assert out[0, 0].argmax() == 12 * 25 + 12
        assert _changed(dot, out).all()


@pytest.mark.parametrize(
    ("name", "octaves", "size"),
    [("scale", 0.2, (22.6, 22.6)), ("stretch", 0.15, (11.3, 22.6))],
    ids=["scale", "stretch"],
)
def test_scale_and_stretch_are_counted_in_octaves(name, octaves, size):
    square = torch.full((1, 1, 64, 64), -1.0)
    square[..., 24:40, 24:40] = 1
    bright = _only(name, square, normal=-0.5 / octaves)[0, 0] > 0  # half an octave: by the square root of 2
    assert bright.any(dim=1).sum().item() == pytest.approx(size[0], abs=1)
    assert bright.any(dim=0).sum().item() == pytest.approx(size[1], abs=1)


def test_a_rotation_turns_by_a_fifth_of_a_radian():
    bar = torch.full((1, 1, 25, 25), -1.0)
    bar[..., 12, :] = 1
    rows = _only("rotation", bar)[0, 0].argmax(dim=0)  # of each column
    slope = (rows[22] - rows[2]) / 20
    assert abs(slope) == pytest.approx(torch.tan(torch.tensor(0.2)).item(), abs=0.06)


def test_contrast_and_brightness_are_a_factor_and_a_sum():
    images = _images(4)
    torch.testing.assert_close(_only("contrast", images, normal=2.0), 2 * images)
    torch.testing.assert_close(_only("brightness", images, normal=-2.0), images - 0.4)


def test_the_square_is_grey_and_half_as_wide_as_the_image():
    images = torch.ones(2, 3, 24, 24)
    out = _only("square", images, places=(12.5 / 24, 12.5 / 24))
    assert (out == 0).sum() == 2 * 3 * 12 * 12
    assert (out[..., 7:19, 7:19] == 0).all()


def test_equal_numbers_give_equal_images_and_the_input_is_not_changed():
    images = _images()
    before = images.clone()
    assert torch.equal(_augment(images, 0.7), _augment(images, 0.7))
    assert not torch.equal(_augment(images, 0.7), _augment(images, 0.7, seed=2))
    assert torch.equal(images, before)


def test_an_image_does_not_depend_on_the_others():
    images, (normals, uniforms), p = _images(), _numbers(64), torch.tensor(0.7)
    together = augment(images, p, normals, uniforms)
    for n in (0, 17, 63):
        alone = augment(images[n : n + 1], p, normals[:, n : n + 1], uniforms[:, n : n + 1])
        torch.testing.assert_close(together[n : n + 1], alone)


def test_gradients_reach_every_image():
    images = _images().requires_grad_()
    _augment(images, 0.8).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_all_channels_are_augmented_alike():
    out = _augment(_images().expand(-1, 3, -1, -1), 1.0)
    torch.testing.assert_close(out[:, 0], out[:, 2])


def test_the_probability_is_steered_to_the_target_within_its_bounds():
    recipe = AugmentRecipe(target=0.6, speed_kimg=1.0, maximum=0.5)

    def steered(before: float, real_sign: float, recipe: AugmentRecipe = recipe) -> float:
        p = torch.tensor(before)
        steer(p, torch.tensor(real_sign), 100, recipe)
        return p.item()

    assert steered(0.2, 0.9) == pytest.approx(0.3)
    assert steered(0.2, 0.1) == pytest.approx(0.1)
    assert steered(0.05, 0.1) == 0.0
    assert steered(0.45, 0.9) == 0.5
    assert steered(0.0, 0.9, AugmentRecipe(target=0.0)) == 0.0

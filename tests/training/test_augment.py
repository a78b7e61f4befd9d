"""Augmentation: nothing at p = 0, the same for equal random numbers, differentiable, and steered."""

from __future__ import annotations

import pytest
import torch

from training.augment import augment, planned, steer
from training.recipe import AugmentRecipe


def _images(n: int = 64) -> torch.Tensor:
    return torch.rand(n, 1, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _augment(images: torch.Tensor, p: float, seed: int = 1) -> torch.Tensor:
    return augment(images, p, torch.Generator().manual_seed(seed))


def test_at_zero_nothing_changes_but_as_many_random_numbers_are_used():
    images = _images()
    rng_off, rng_on = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert augment(images, 0.0, rng_off) is images
    augment(images, 0.5, rng_on)
    assert torch.equal(rng_off.get_state(), rng_on.get_state())


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_the_fraction_of_changed_images_follows_p(p):
    images = _images(1000)
    changed = (_augment(images, p) != images).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(1 - (1 - p) ** 6, abs=0.05)


def test_it_repeats_and_does_not_change_its_input():
    images = _images()
    before = images.clone()
    assert torch.equal(_augment(images, 0.7), _augment(images, 0.7))
    assert not torch.equal(_augment(images, 0.7), _augment(images, 0.7, seed=2))
    assert torch.equal(images, before)


def test_gradients_come_through():
    images = _images().requires_grad_()
    _augment(images, 0.8).square().sum().backward()
    assert images.grad is not None
    assert (images.grad.abs().sum(dim=(1, 2, 3)) > 0).all()


def test_colour_images_are_augmented_alike_in_all_channels():
    images = _images().expand(-1, 3, -1, -1)
    out = _augment(images, 1.0)
    torch.testing.assert_close(out[:, 0], out[:, 2])


def test_the_probability_is_steered_to_the_target_within_its_bounds():
    recipe = AugmentRecipe(target=0.6, speed_kimg=1.0, maximum=0.5)
    assert steer(0.2, 0.9, 100, recipe) == pytest.approx(0.3)
    assert steer(0.2, 0.1, 100, recipe) == pytest.approx(0.1)
    assert steer(0.05, 0.1, 100, recipe) == 0.0
    assert steer(0.45, 0.9, 100, recipe) == 0.5
    assert steer(0.3, 0.9, 100, AugmentRecipe(target=0.0)) == 0.0


def test_without_a_target_the_probability_stays_or_rises_by_plan():
    assert planned(5000, AugmentRecipe(target=0.0, minimum=0.1)) == 0.1
    rising = AugmentRecipe(target=0.0, ramp_kimg=2.0, maximum=0.3)
    assert [planned(nimg, rising) for nimg in (0, 1000, 2000, 9000)] == pytest.approx([0, 0.15, 0.3, 0.3])

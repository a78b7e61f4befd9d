"""What is told of an emotion: nothing, then more, then all of it, and noise by rarity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.batches import BatchSource
from training.conditions import Conditions, condition_weight, rarity
from training.data.packed import load_packed
from training.recipe import ScheduleRecipe, load_recipe
from training.trainer import Trainer


@pytest.fixture
def data(faces):
    return load_packed(faces)


def _told(recipe, labels, cur_nimg, counts=(400, 100, 20)):
    rows = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], counts)]
    conditions = Conditions(rows, np.full(len(rows), 1 / len(rows)), recipe)
    return conditions.at(labels, cur_nimg, np.random.default_rng(0))


def _fading(recipe, start, end):
    schedule = replace(recipe.schedule, condition_from_kimg=start, condition_until_kimg=end)
    return replace(recipe, schedule=schedule)


@pytest.mark.parametrize(
    ("start", "end", "weights"),
    [(0, 0, [1, 1, 1, 1, 1]), (1, 3, [0, 0, 0.5, 1, 1]), (2, 2, [0, 0, 1, 1, 1]), (0, 4, [0, 0.25, 0.5, 0.75, 1])],
)
def test_it_is_faded_in_linearly(start, end, weights):
    schedule = ScheduleRecipe(condition_from_kimg=start, condition_until_kimg=end)
    assert [condition_weight(schedule, 1000 * kimg) for kimg in range(5)] == weights


def test_by_default_both_networks_are_told_the_label_itself(data, tiny):
    batch = BatchSource(data, tiny, "cpu").at(80)
    for condition in (batch.told, batch.asked, batch.twin):
        assert torch.equal(condition, batch.emotions)


def test_before_it_is_the_mean_of_what_is_drawn_and_on_the_way_the_line_to_the_label(tiny):
    recipe, labels = _fading(tiny, 1, 3), np.eye(3, dtype=np.float32)
    mean = np.array([400, 100, 20]) / 520
    for nimg, weight in ((0, 0), (1500, 0.25), (3000, 1)):
        for told in _told(recipe, labels, nimg):
            np.testing.assert_allclose(told, weight * labels + (1 - weight) * mean, atol=1e-6)
            np.testing.assert_allclose(told.sum(axis=1), 1, atol=1e-6)


def test_rare_emotions_get_more_noise_and_one_without_images_takes_no_part():
    labels = np.eye(4, dtype=np.float32)[np.repeat([0, 1, 2], [8000, 500, 50])]
    rare = rarity(labels)
    assert rare[3] == 0
    assert rare[:3].mean() == pytest.approx(1)
    expected = 1 / (1 - 0.999 ** np.array([8000, 500, 50]))
    np.testing.assert_allclose(rare[:3], expected / expected.mean())


def test_noise_is_drawn_twice_grows_with_rarity_and_leaves_a_sum_of_one(tiny):
    recipe = replace(tiny, data=replace(tiny.data, label_noise=0.1))
    labels = np.repeat(np.eye(3, dtype=np.float32), 4000, axis=0)
    told, first, second = _told(recipe, labels, 0)
    assert told is labels  # the discriminator is told no noise
    assert abs(np.corrcoef((first - told).ravel(), (second - told).ravel())[0, 1]) < 0.02
    np.testing.assert_allclose(first.sum(axis=1), 1, atol=1e-5)
    deviations = (first - told).reshape(3, -1).std(axis=1)
    counts = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], (400, 100, 20))]
    np.testing.assert_allclose(deviations, 0.1 * rarity(counts) * (2 / 3) ** 0.5, rtol=0.03)
    faded = _told(_fading(recipe, 1, 2), labels[:2], 500)
    assert np.array_equal(faded[0], faded[1])  # what is not told has no noise either


def test_what_is_drawn_besides_does_not_depend_on_noise(data, tiny):
    noisy = replace(tiny, data=replace(tiny.data, label_noise=0.1))
    a, b = (BatchSource(data, recipe, "cpu").at(80) for recipe in (tiny, noisy))
    for name in ("images", "emotions", "latents", "told"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert torch.equal(a.rng.get_state(), b.rng.get_state())
    assert not torch.equal(b.asked, b.emotions)
    assert not torch.equal(b.asked, b.twin)


@pytest.mark.parametrize("architecture", ["residual", "dense"])
def test_before_it_begins_no_network_learns_anything_of_the_emotions(data, tiny, architecture):
    if architecture == "dense":
        classic = load_recipe("dense")
        tiny = replace(
            tiny,
            loss=classic.loss,
            generator=replace(classic.generator, widths=(16, 16), latent_dim=8),
            discriminator=replace(classic.discriminator, widths=(16, 16)),
        )
    recipe = _fading(replace(tiny, data=replace(tiny.data, label_noise=0.1)), 0.04, 0.08)
    source, states = BatchSource(data, recipe, "cpu"), []
    for shift in (0, 1):  # the second time with other labels for the same images
        trainer = Trainer(recipe, 16, 1, data.emotions, "cpu")
        for nimg in (*range(0, 48, 8), 64):
            batch = source.at(nimg)
            labels = batch.emotions.roll(shift, dims=1)
            told = source._conditions.at(labels.numpy(), nimg, np.random.default_rng(nimg))
            first, second, third = (torch.from_numpy(part) for part in told)
            trainer.step(replace(batch, emotions=labels, told=first, asked=second, twin=third), nimg)
            if nimg >= 40:  # where it begins, and half faded in
                modules = (trainer.generator, trainer.discriminator, trainer.average)
                states.append([value.clone() for module in modules for value in module.state_dict().values()])
    begin, half, other_begin, other_half = states
    assert all(torch.equal(*pair) for pair in zip(begin, other_begin, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(half, other_half, strict=True))

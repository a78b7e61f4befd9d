"""A batch is a function of the seed and the images seen, and draws rare emotions more often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from training.batches import BatchSource, draw_weights
from training.data.packed import load_packed


@pytest.fixture
def data(faces):
    return load_packed(faces)


def test_the_same_counter_gives_the_same_batch_in_any_order(data, tiny):
    a, b = BatchSource(data, tiny, "cpu"), BatchSource(data, tiny, "cpu")
    a.at(0)
    first, again, other = a.at(80), b.at(80), b.at(88)
    for name in ("images", "emotions", "latents"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    assert torch.rand(3, generator=first.rng).equal(torch.rand(3, generator=again.rng))
    seeded = BatchSource(data, replace(tiny, seed=1), "cpu").at(80)
    assert not torch.equal(first.latents, seeded.latents)


def test_images_are_the_data_sets_own_or_their_mirror_images(data, tiny):
    batch = BatchSource(data, tiny, "cpu").at(0)
    assert batch.images.shape == (8, 1, 16, 16)
    assert batch.images.dtype == torch.float32
    known = {image.tobytes() for image in data.images} | {image[:, :, ::-1].tobytes() for image in data.images}
    for image in batch.images:
        assert ((image + 1) * 127.5).round().to(torch.uint8).numpy().tobytes() in known
    torch.testing.assert_close(batch.emotions.sum(1), torch.ones(8))


@pytest.mark.parametrize(("balance", "power"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_an_emotion_is_drawn_by_the_power_of_its_mass(balance, power):
    labels = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [400, 100, 25])]
    drawn = draw_weights(labels, balance) @ labels
    expected = np.array([400.0, 100.0, 25.0]) ** power
    np.testing.assert_allclose(drawn, expected / expected.sum(), rtol=1e-6)


def test_an_emotion_without_images_takes_nothing_away():
    labels = np.eye(4, dtype=np.float32)[np.repeat([0, 1], [30, 10])]
    assert draw_weights(labels, 1.0).sum() == pytest.approx(1.0)


def test_labels_are_hardened_as_often_as_the_recipe_says(data, tiny):
    rng = np.random.default_rng(0)
    soft = (data.labels.max(axis=1) < 1).mean()
    for probability in (0.0, 0.5, 1.0):
        recipe = replace(tiny, data=replace(tiny.data, hard_labels=probability, balance=0.0))
        _, labels = BatchSource(data, recipe, "cpu").labels(rng, 4000)
        assert (labels.max(axis=1) < 1).mean() == pytest.approx(soft * (1 - probability), abs=0.03)

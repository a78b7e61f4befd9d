"""A batch is a function of the seed and the images seen; weights and votes decide what it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.emotions import FERPLUS
from training.augment import NORMALS, UNIFORMS
from training.batches import AUGMENTED, Batch, BatchSource
from training.data.errors import DataError
from training.data.ferplus import VOTES
from training.data.packed import PackedDataset, load_packed
from training.vote_labels import sampling_weights, training_labels


@pytest.fixture
def data(faces):
    return load_packed(faces)


def _voted(rows: int = 24) -> PackedDataset:
    """Images whose pixels are their own number; every third one is no face to most voters."""
    votes = np.zeros((rows, len(VOTES)), np.int64)
    votes[:, VOTES.index("sadness")] = 4
    votes[:, VOTES.index("neutral")] = 6
    votes[::3] = 0
    votes[::3, VOTES.index("NF")] = 10
    labels = np.eye(len(FERPLUS), dtype=np.float32)[[FERPLUS.index("happy")] * rows]
    images = np.arange(rows, dtype=np.uint8)[:, None, None, None] * np.ones((1, 16, 16), np.uint8)
    given = np.full(rows, FERPLUS.index("sad"))
    return PackedDataset(images, labels, FERPLUS, [str(n) for n in range(rows)], {}, "", given, votes, VOTES)


def _numbers(batch: Batch) -> list[int]:
    """Return the numbers of the images of :func:`_voted`."""
    return ((batch.images[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()


def _with_data(recipe, **settings):
    return replace(recipe, data=replace(recipe.data, **settings))


def test_the_same_counter_gives_the_same_batch_in_any_order(data, tiny):
    a, b = BatchSource(data, tiny, "cpu"), BatchSource(data, tiny, "cpu")
    a.at(0)
    first, again, other = a.at(80), b.at(80), b.at(88)
    assert first.seed == again.seed != other.seed
    for left, same, different in zip(first.tensors(), again.tensors(), other.tensors(), strict=True):
        assert torch.equal(left, same)
        assert not torch.equal(left, different)
    seeded = BatchSource(data, replace(tiny, seed=1), "cpu").at(80)
    assert not torch.equal(first.latents, seeded.latents)


def test_shapes_and_ranges_are_those_that_are_promised(data, tiny):
    batch = BatchSource(data, tiny, "cpu").at(0)
    assert batch.images.shape == (8, 1, 16, 16)
    assert batch.emotions.shape == (8, 7)
    assert batch.latents.shape == (8, 8)
    assert batch.normals.shape == (AUGMENTED, NORMALS, 8)
    assert batch.uniforms.shape == (AUGMENTED, UNIFORMS, 8)
    assert {tensor.dtype for tensor in batch.tensors()} == {torch.float32}
    torch.testing.assert_close(batch.emotions.sum(1), torch.ones(8))
    assert batch.images.abs().max() <= 1


def test_random_numbers_are_normal_and_uniform(data, tiny):
    batch = BatchSource(data, replace(tiny, schedule=replace(tiny.schedule, batch=2000)), "cpu").at(0)
    for normal in (batch.latents, batch.normals):
        assert normal.mean().item() == pytest.approx(0, abs=0.05)
        assert normal.std().item() == pytest.approx(1, abs=0.05)
    assert 0 <= batch.uniforms.min() < 0.001
    assert 0.999 < batch.uniforms.max() <= 1
    assert batch.uniforms.mean().item() == pytest.approx(0.5, abs=0.01)


def test_neighbours_are_one_person_only_where_identity_is_learned(data, tiny):
    latents = BatchSource(data, tiny, "cpu").at(0).latents
    assert torch.equal(latents[::2], latents[1::2])
    assert len(latents.unique(dim=0)) == 4
    apart = replace(tiny, loss=replace(tiny.loss, identity=0.0))
    assert len(BatchSource(data, apart, "cpu").at(0).latents.unique(dim=0)) == 8


def test_images_are_the_data_sets_own_or_their_mirror_images(data, tiny):
    own = {image.tobytes() for image in data.images}
    mirrored = {image[:, :, ::-1].tobytes() for image in data.images}

    def drawn(recipe):
        images = BatchSource(data, recipe, "cpu").at(0).images
        return [((image + 1) * 127.5).round().to(torch.uint8).numpy().tobytes() for image in images]

    many = replace(tiny, schedule=replace(tiny.schedule, batch=400))
    flipped = [image in mirrored and image not in own for image in drawn(many)]
    assert all(image in own | mirrored for image in drawn(many))
    assert 0.2 < np.mean(flipped) < 0.6  # some drawn faces are their own mirror images
    assert all(image in own for image in drawn(_with_data(many, flip=False)))


def test_labels_come_from_the_votes_or_from_the_file(tiny):
    data = _voted()
    soft = _with_data(tiny, hard_labels=0.0)
    expected = torch.from_numpy(training_labels(data)[0][1])  # 6 neutral, 4 sad and 2 more of FER-2013's label
    batch = BatchSource(data, soft, "cpu").at(0)
    torch.testing.assert_close(batch.emotions, expected.expand(8, -1))
    packed = BatchSource(data, _with_data(soft, labels="packed"), "cpu").at(0)
    torch.testing.assert_close(packed.emotions, torch.from_numpy(data.labels[:8]))


def test_images_that_may_not_be_shown_are_never_drawn(tiny):
    data, many = _voted(), replace(tiny, schedule=replace(tiny.schedule, batch=1000))
    assert set(_numbers(BatchSource(data, many, "cpu").at(0))) == {n for n in range(24) if n % 3}
    packed = BatchSource(data, _with_data(many, labels="packed"), "cpu").at(0)
    assert set(_numbers(packed)) == set(range(24))


def test_data_without_an_image_that_may_be_shown_is_refused(tiny):
    data = _voted(1)
    with pytest.raises(DataError, match=r"^the data set has no image that may be shown in training\.$"):
        BatchSource(data, tiny, "cpu")


def test_an_image_is_drawn_as_often_as_its_weight_says(data, tiny):
    recipe = _with_data(tiny, rarity=1.0, agreement=3.0)
    expected = sampling_weights(data.labels, 1.0, 3.0)
    index, _ = BatchSource(data, recipe, "cpu").labels(np.random.default_rng(0), 100_000)
    drawn = np.bincount(index, minlength=len(data)) / 100_000
    assert np.abs(drawn - expected).max() < 0.003
    assert np.corrcoef(drawn, expected)[0, 1] > 0.98


def test_labels_are_hardened_as_often_as_the_recipe_says(data, tiny):
    rng = np.random.default_rng(0)
    soft = (data.labels.max(axis=1) < 1).mean()
    for probability in (0.0, 0.5, 1.0):
        recipe = _with_data(tiny, hard_labels=probability, rarity=0.0, agreement=0.0)
        _, labels = BatchSource(data, recipe, "cpu").labels(rng, 4000)
        assert (labels.max(axis=1) < 1).mean() == pytest.approx(soft * (1 - probability), abs=0.03)
        assert labels.sum(axis=1) == pytest.approx(1)

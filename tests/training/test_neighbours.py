"""Copies of training faces are found however they are cut or lit, and new faces are not taken for copies."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.neighbours import (
    compare_faces,
    describe_faces,
    describe_views,
    honest_faces,
    memorisation,
    nearest,
    nearest_training_faces,
)


def _pictures(n: int, seed: int, size: int = 48) -> np.ndarray:
    """Smooth random pictures, uint8 [n, 1, size, size]; two of them are as unlike as two people are."""
    rng = np.random.default_rng(seed)
    waves = np.stack([np.cos(np.pi * k * (np.arange(size) + 0.5) / size) for k in range(9)])
    weights = rng.normal(size=(n, 9, 9)) / (1 + np.add.outer(np.arange(9), np.arange(9)))
    image = np.einsum("nij,ia,jb->nab", weights, waves, waves)
    return np.clip(128 + 60 * image, 0, 255).astype(np.uint8)[:, None]


@pytest.fixture(scope="module")
def training() -> np.ndarray:
    return _pictures(400, 0)


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(4, 9))
@settings(max_examples=20, deadline=None)
def test_the_nearest_is_the_nearest(seed, crowd, chunk):
    rng = np.random.default_rng(seed)
    queries, gallery = rng.normal(size=(20, 6)) + 10, rng.normal(size=(30, 6)) + 10
    gallery[3] = queries[5]
    apart = np.linalg.norm(queries[:, None] - gallery[None], axis=2)
    got = nearest(queries, gallery, crowd=crowd, chunk=chunk)
    assert got.index.tolist() == apart.argmin(axis=1).tolist()
    np.testing.assert_allclose(got.distance, apart.min(axis=1), atol=1e-5)
    yard = np.sort(apart, axis=1)[:, min(crowd, 30) - 1]
    np.testing.assert_allclose(got.ratio, apart.min(axis=1) / yard, atol=1e-3)
    assert got.distance[5] < 1e-5


def test_of_several_views_the_best_counts():
    rng = np.random.default_rng(0)
    views, gallery = rng.normal(size=(3, 10, 4)), rng.normal(size=(25, 4))
    apart = np.linalg.norm(views[:, :, None] - gallery, axis=3).min(axis=0)
    got = nearest(views, gallery, crowd=5)
    assert got.index.tolist() == apart.argmin(axis=1).tolist()
    np.testing.assert_allclose(got.distance, apart.min(axis=1), atol=1e-5)
    np.testing.assert_allclose(got.ratio, apart.min(axis=1) / np.sort(apart, axis=1)[:, 4], atol=1e-4)


def test_a_gallery_of_nothing_but_the_query_gives_the_ratio_of_a_copy():
    got = nearest(np.ones((2, 3)), np.ones((60, 3)))
    assert got.ratio.tolist() == [0, 0]


def test_what_cannot_be_compared_is_refused(training):
    with pytest.raises(ValueError, match="cannot compare"):
        nearest(np.ones((2, 3)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="cannot compare"):
        nearest(np.ones((2, 3)), np.ones((0, 3)))
    with pytest.raises(ValueError, match="square images"):
        describe_faces(np.zeros((2, 1, 48, 40), np.uint8))
    with pytest.raises(ValueError, match="no images"):
        compare_faces(training[:0], training)
    with pytest.raises(ValueError, match="no test faces"):
        honest_faces(np.array([]))


@pytest.mark.parametrize("shape", [(1, 48, 48), (1, 16, 16), (3, 89, 89)])
def test_a_description_is_of_length_one_and_does_not_see_light(shape):
    images = np.random.default_rng(0).integers(60, 120, (5, *shape)).astype(np.uint8)
    points = describe_faces(images)
    assert points.shape == (5, 256)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(describe_faces(images + 40), points, atol=1e-4)
    assert not describe_faces(np.full_like(images, 77)).any()  # an even image is like nothing
    np.testing.assert_array_equal(describe_views(images)[0], points)


def test_views_are_the_mirrored_and_the_shifted_image(training):
    views = describe_views(training[:6])
    assert views.shape == (18, 6, 256)
    mirrored = describe_faces(np.ascontiguousarray(training[:6, :, :, ::-1]))
    np.testing.assert_allclose(views[9], mirrored, atol=1e-5)
    # Inside, a view is the description of the image moved by three pixels; at the border both only guess.
    moved = describe_faces(np.roll(training[:6], (3, -3), (2, 3))).reshape(6, 16, 16)[:, 3:-3, 3:-3].reshape(6, -1)
    inside = views.reshape(18, 6, 16, 16)[:, :, 3:-3, 3:-3].reshape(18, 6, -1)
    alike = [[np.corrcoef(view[k], moved[k])[0, 1] for k in range(6)] for view in inside]
    best = np.mean(alike, axis=1)
    assert best.max() > 0.97
    assert np.sort(best)[-2] < best.max() - 0.05


def _shift(images: np.ndarray, dy: int, dx: int) -> np.ndarray:
    padded = np.pad(images, ((0, 0), (0, 0), (6, 6), (6, 6)), "reflect")
    return padded[:, :, 6 + dy : 54 + dy, 6 + dx : 54 + dx]


CHANGES = {
    "nothing": lambda x: x,
    "mirrored": lambda x: x[:, :, :, ::-1],
    "moved": lambda x: _shift(x, 3, -3),
    "moved a little": lambda x: _shift(x, 0, 1),
    "darker and flatter": lambda x: (x * 0.5 + 20).astype(np.uint8),
    "noisy": lambda x: np.clip(x + np.random.default_rng(0).normal(0, 8, x.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_with_its_original(training, change):
    copies = np.ascontiguousarray(CHANGES[change](training[:60]))
    index, distance = nearest_training_faces(copies, training)
    assert (index == np.arange(60)).mean() > 0.95
    new = compare_faces(_pictures(60, 9), training)
    ratio = compare_faces(copies, training).ratio
    assert (ratio < new.ratio.min()).mean() > 0.9
    if change in ("nothing", "mirrored"):
        assert distance.max() < 1e-5


@given(st.integers(0, 10**6), st.integers(0, 40))
@settings(max_examples=40, deadline=None)
def test_near_copies_are_told_from_new_faces_however_many_there_are(seed, copies):
    rng = np.random.default_rng(seed)
    new, near = rng.normal(0.9, 0.03, 200), rng.uniform(0, 0.6, copies)
    honest = honest_faces(np.concatenate([new, near]))
    assert not honest.kept[200:].any()
    assert honest.kept[:200].mean() >= 0.985
    assert honest.threshold <= honest.quantile
    assert 0.6 < honest.threshold < 0.85
    assert honest.quantile == np.quantile(np.concatenate([new, near])[honest.kept], 0.01)


def test_equal_ratios_are_all_kept():
    assert honest_faces(np.full(10, 0.9)).kept.all()


def test_memorisation_counts_the_copies_and_is_not_misled_by_those_in_the_test_set(training):
    test = np.concatenate([_pictures(300, 1), training[100:140]])
    fresh = memorisation(_pictures(300, 2), test, training)
    assert fresh["near_copies"] == pytest.approx(40 / 340, abs=0.01)
    assert fresh["fraction"] <= 0.04
    assert fresh["copies"] == 0
    assert fresh["faces"] == 300
    copied = memorisation(np.concatenate([_pictures(270, 2), training[:30]]), test, training)
    assert copied["copies"] == pytest.approx(0.1)
    assert copied["fraction"] == pytest.approx(0.1, abs=0.03)
    assert copied["quantile"] == fresh["quantile"]
    json.dumps(copied, allow_nan=False)

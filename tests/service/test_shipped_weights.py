"""The weights that ship, asked over HTTP. Without them this fails: a service without weights is none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model import FaceRequest, FaceSampler
from model.emotions import FER2013, FERPLUS, EmotionMix
from model.weights import read_weights
from service.app import create_app
from service.settings import Settings
from tests.service.serving import live

SHIPPED = Path(__file__).parents[2] / "weights" / "fer48.safetensors"
SEEDS = (0, 7, 2**63 - 1, "Ada")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(Settings(weights=SHIPPED, host="127.0.0.1", port=0, device="cpu"))) as client:
        yield client


def face(client: httpx.Client, emotion: str, seed: int | str) -> bytes:
    response = client.post("/generate", json={"emotion": emotion, "seed": seed})
    assert response.status_code == 200, response.text
    assert response.headers["x-model"].startswith("fer48@")
    return response.content


def pixels(png: bytes) -> NDArray[np.float64]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=np.float64)


@pytest.mark.parametrize("seed", SEEDS)
def test_different_emotions_differ(client: httpx.Client, seed: int | str) -> None:
    faces = {emotion: pixels(face(client, emotion, seed)) for emotion in FER2013}
    for one, other in combinations(FER2013, 2):
        # In grey levels, over the whole picture. Encoding noise would be 0: the pictures are lossless.
        assert np.abs(faces[one] - faces[other]).mean() > 1, (one, other)


@pytest.mark.parametrize("emotion", FER2013)
def test_different_seeds_differ_and_look_like_pictures(client: httpx.Client, emotion: str) -> None:
    faces = [pixels(face(client, emotion, seed)) for seed in SEEDS]
    for one, other in combinations(faces, 2):
        assert np.abs(one - other).mean() > 5
    for one in faces:
        assert one.shape == (48, 48)
        assert one.std() > 15


@pytest.mark.parametrize("seed", SEEDS)
def test_same_seed_same_bytes(client: httpx.Client, seed: int | str) -> None:
    assert face(client, "happy", seed) == face(client, "happy", seed)


def test_every_slot_gives_the_same_face_and_intensity_0_is_neutral() -> None:
    sampler = FaceSampler.load(SHIPPED, "cpu")
    wanted = FaceRequest(EmotionMix.parse("happy", sampler.emotions), 7)
    other = FaceRequest(EmotionMix.parse("fear", sampler.emotions), 8)
    alone = sampler.sample([wanted])[0]
    for slot in range(sampler.batch_size):
        company = [other] * sampler.batch_size
        company[slot] = wanted
        np.testing.assert_array_equal(sampler.sample(company)[slot], alone)
    calm = FaceRequest(EmotionMix.parse("neutral", sampler.emotions), 7)
    a, b = sampler.sample([calm, FaceRequest(wanted.mix, 7, intensity=0.0)])
    np.testing.assert_array_equal(a, b)


def test_a_person_is_more_like_themselves_in_another_emotion_than_like_others() -> None:
    sampler = FaceSampler.load(SHIPPED, "cpu")
    mixes = [EmotionMix.parse(name, sampler.emotions) for name in FER2013]
    people = range(40)
    faces = sampler.sample([FaceRequest(mix, seed) for seed in people for mix in mixes]).astype(np.float64)
    faces = faces.reshape(len(people), len(mixes), -1)
    same = np.mean([np.abs(faces[:, i] - faces[:, j]).mean() for i, j in combinations(range(len(mixes)), 2)])
    others = np.mean([np.abs(faces[p] - faces[q]).mean() for p, q in combinations(people, 2)])
    assert same < 0.6 * others


def test_the_file_is_small_and_its_card_says_where_it_comes_from() -> None:
    assert SHIPPED.stat().st_size <= 16 * 2**20
    file = read_weights(SHIPPED)
    assert file.config.emotions == FERPLUS
    assert (file.card["data"]["name"], file.card["recipe"]["name"]) == ("fer2013", "fer48")
    described = SHIPPED.with_suffix(".md").read_text(encoding="utf-8")
    assert file.sha256 in described
    assert f"{file.card['data']['images']:,} faces" in described
    assert f"{file.card['images_seen']:,} images seen" in described

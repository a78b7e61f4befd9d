"""POST /morph and GET /grid.png: many faces in one picture, each the very still that anybody gets."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from model.animate import ANIMATED
from model.emotions import FER2013
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live, tiny_sampler
from tests.service.test_http_problems import problem

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")
KEYS: list[dict[str, Any]] = [{"emotion": "neutral"}, {"emotion": "happy", "intensity": 1.5}, {"emotion": "sad"}]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, tiny_sampler())) as client:
        yield client


def frames(content: bytes) -> list[NDArray[np.uint8]]:
    with Image.open(io.BytesIO(content)) as image:
        return [np.asarray(frame.convert("L")) for frame in ImageSequence.Iterator(image)]


def still(client: httpx.Client, address: str) -> NDArray[np.uint8]:
    answer = client.get(f"/faces/{address}")
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"))


@pytest.mark.parametrize("format", ANIMATED)
def test_the_key_frames_and_those_between_are_the_very_stills(client: httpx.Client, format: str) -> None:
    wish = {"seed": 7, "keyframes": KEYS, "frames": 2, "fps": 10, "format": format, "size": 64}
    answer = client.post("/morph", json=wish)
    assert (answer.status_code, answer.headers["content-type"]) == (200, ANIMATED[format])
    assert (answer.headers["x-frames"], answer.headers["x-seed"]) == ("5", "7")
    seen = frames(answer.content)
    stills = ["neutral/7.png", "happy/7.png?intensity=0.75", "happy/7.png?intensity=1.5"]
    stills += ["happy=0.75,sad=0.5/7.png?intensity=1.25", "sad/7.png"]
    stills[1] = "neutral=0.5,happy=0.75/7.png?intensity=1.25"  # the same condition, said as the line says it
    expected = [still(client, f"{address}{'&' if '?' in address else '?'}size=64") for address in stills]
    assert len(seen) == len(expected)
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert getattr(image, "n_frames", 1) == 5
        image.seek(1)
        image.load()
        assert image.info["duration"] == 100
        assert image.info["loop"] == 0
        assert b"trainedAlgorithmicMedia" in answer.content or format == "gif"
        assert b"synthetic" in answer.content.lower() or format == "webp"


def test_the_same_morph_is_the_same_bytes_and_a_drawn_seed_brings_it_back(client: httpx.Client) -> None:
    one = client.post("/morph", json={"keyframes": KEYS})
    again = client.post("/morph", json={"keyframes": KEYS, "seed": one.headers["x-seed"]})
    assert again.content == one.content
    assert client.post("/morph", json={"keyframes": KEYS}).headers["x-seed"] != one.headers["x-seed"]


def test_a_closed_one_leads_back(client: httpx.Client) -> None:
    answer = client.post("/morph", json={"seed": 7, "keyframes": KEYS[:2], "frames": 3, "closed": True})
    seen = frames(answer.content)
    assert (answer.headers["x-frames"], len(seen)) == ("6", 6)
    np.testing.assert_array_equal(seen[0], still(client, "neutral/7.png"))
    np.testing.assert_array_equal(seen[1], seen[5])


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        ({"keyframes": KEYS[:1]}, "#/keyframes", "2 to 16"),
        ({"keyframes": [{"emotion": "hapy"}, {"emotion": "sad"}]}, "#/keyframes", "did you mean 'happy'?"),
        ({"frames": 0}, "#/frames", "1 to 60"),
        ({"keyframes": KEYS * 5, "frames": 60}, "#/frames", "at most 256 frames"),
        ({"fps": 51}, "#/fps", "1 to 50"),
        ({"format": "png"}, "#/format", "webp, apng, gif"),
        ({"size": 1024}, "#/size", "48 to"),
        ({"framse": 3}, "#/framse", "did you mean 'frames'?"),
        ({"model": "other"}, "#/model", "tiny@"),
    ],
)
def test_a_wrong_morph_is_named(client: httpx.Client, change: dict[str, Any], pointer: str, said: str) -> None:
    (error,) = problem(client.post("/morph", json={"keyframes": KEYS, **change}), 422)["errors"]
    assert error["pointer"] == pointer
    assert said in f"{error['detail']} {error['allowed']}"


def test_a_grid_has_the_very_stills_in_its_rows(client: httpx.Client) -> None:
    answer = client.get("/grid.png?emotions=happy,sad,fear&seeds=7,Ada&size=64&intensity=0.5")
    assert answer.headers["content-type"] == "image/png"
    pixels = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert pixels.shape == (128, 192)
    for y, seed in enumerate(("7", "Ada")):
        for x, emotion in enumerate(("happy", "sad", "fear")):
            face = still(client, f"{emotion}/{seed}.png?size=64&intensity=0.5")
            np.testing.assert_array_equal(pixels[y * 64 : y * 64 + 64, x * 64 : x * 64 + 64], face)
    assert b"trainedAlgorithmicMedia" in answer.content


def test_a_grid_of_everything_and_with_labels(client: httpx.Client) -> None:
    plain = Image.open(io.BytesIO(client.get("/grid.png").content))
    assert plain.size == (48 * len(FER2013), 48 * 4)
    labelled = Image.open(io.BytesIO(client.get("/grid.png?labels=true&size=96").content))
    assert labelled.size == (96 * (len(FER2013) + 1), 96 * 4 + 24)


def test_a_grid_takes_mixes_and_texts_as_several_parameters(client: httpx.Client) -> None:
    query = {"emotions": ["happy=0.5,sad=0.5", "fear"], "seeds": ["Lovelace, Ada", "7"]}
    pixels = np.asarray(Image.open(io.BytesIO(client.get("/grid.png", params=query).content)))
    np.testing.assert_array_equal(pixels[:48, :48], still(client, "happy=0.5,sad=0.5/Lovelace%2C%20Ada.png"))
    one = np.asarray(Image.open(io.BytesIO(client.get("/grid.png?emotions=happy=0.5,sad=0.5&seeds=7").content)))
    np.testing.assert_array_equal(one, still(client, "happy=0.5,sad=0.5/7.png"))


def test_a_grid_is_kept_and_known_again() -> None:
    sampler = StubSampler()
    with live(create_app(SETTINGS, sampler)) as client:
        answer = client.get("/grid.png?seeds=1,2")
        drawn = len(sampler.seeds)
        again = client.get("/grid.png?seeds=1,2", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, len(sampler.seeds)) == (304, drawn)
        assert "immutable" in answer.headers["cache-control"]
        assert client.head("/grid.png?seeds=1,2").headers["etag"] == answer.headers["etag"]
        tags = [client.get(f"/grid.png?{q}").headers["etag"] for q in ("seeds=2,1", "seeds=1,2&labels=1", "seeds=1")]
        assert len({answer.headers["etag"], *tags}) == 4


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ("emotions=hapy", "emotions", "did you mean 'happy'?"),
        ("emotions=happy&seeds=" + ",".join(map(str, range(257))), "seeds", "at most 256 faces"),
        ("seeds=" + "x" * 257, "seeds", "1 to 256 characters"),
        ("size=512", "size", "at most 256 pixels"),
        ("labels=maybe", "labels", "true or false"),
        ("sedes=1", "sedes", "did you mean 'seeds'?"),
        ("model=other", "model", "tiny@"),
    ],
)
def test_a_wrong_grid_is_named(client: httpx.Client, query: str, parameter: str, said: str) -> None:
    (error,) = problem(client.get(f"/grid.png?{query}"), 422)["errors"]
    assert error["parameter"] == parameter
    assert said in f"{error['detail']} {error.get('allowed')}"

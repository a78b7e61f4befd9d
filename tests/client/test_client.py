"""Both clients against the real service over loopback: what they are given, and what they say when they are not."""

from __future__ import annotations

import asyncio
import inspect
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import emoface.client as package
from emoface.client import (
    AsyncClient,
    Client,
    EmofaceError,
    Face,
    InvalidRequest,
    KeyRefused,
    RateLimited,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from emoface.client.calls import FaceOptions
from model.emotions import FER2013, FERPLUS
from model.provenance import model_tag
from service.access.keys import new_key
from service.api.schemas import GenerateRequest
from service.app import create_app
from service.settings import Settings
from tests.client.both import Both
from tests.service.serving import StubSampler, live, serving, tiny_sampler, until_now

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")
TAG = model_tag(tiny_sampler().name, tiny_sampler().sha256)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(create_app(SETTINGS, tiny_sampler())) as (_, url):
        yield url


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, address: str) -> Both:
    return Both(request.param, address)


def test_a_face_is_the_services_bytes(client: Both, address: str) -> None:
    face = client.generate("happy", seed=2, intensity=1.2, truncation=0.5, size=96, format="webp")
    wish = {"emotion": "happy", "seed": 2, "intensity": 1.2, "truncation": 0.5, "size": 96, "format": "webp"}
    answer = httpx.post(f"{address}/generate", json=wish, trust_env=False)
    assert face == Face(answer.content, 2, TAG, "webp")


def test_seeds_and_mixes_come_back(client: Both, tmp_path: Path) -> None:
    face = client.generate({"happy": 0.7, "surprise": 0.3}, seed="Zoë 7%/?")
    assert (face.seed, face.model, face.format) == ("Zoë 7%/?", TAG, "png")
    drawn = client.generate("sad")
    assert client.generate("sad", seed=drawn.seed) == drawn
    assert client.generate("sad").seed != drawn.seed
    assert client.generate("sad", seed="12").seed == 12
    face.save(tmp_path / "face.png")
    assert (tmp_path / "face.png").read_bytes() == face.content


def test_a_batch_has_an_outcome_for_each(client: Both) -> None:
    wishes: list[Any] = [
        {"emotion": "happy", "seed": 7, "format": "jpeg"},
        {"emotion": "hapy"},
        {"emotion": {"sad": 1}},
    ]
    first, wrong, last = client.batch(wishes)
    assert first == client.generate("happy", seed=7, format="jpeg")
    assert isinstance(wrong, InvalidRequest)
    assert (wrong.status, wrong.errors[0].where) == (422, "#/emotion")
    assert last == client.generate("sad", seed=last.seed)


def test_a_morph_moves(client: Both) -> None:
    keys: list[Any] = ["neutral", {"happy": 0.7, "sad": 0.3}, {"emotion": "sad", "intensity": 0.5}]
    moves = client.morph(keys, seed=7, frames=2, fps=10, closed=True, size=64, format="gif")
    assert (moves.seed, moves.frames, moves.format) == (7, 6, "gif")
    with Image.open(io.BytesIO(moves.content)) as image:
        assert (image.size, image.n_frames) == ((64, 64), 6)  # type: ignore[attr-defined]
    assert client.morph(["happy", "sad"]).format == "webp"
    assert client.morph(["happy", "sad"], format="apng", seed="Ada").seed == "Ada"


def test_vocabulary_and_weights(client: Both) -> None:
    found = client.emotions()
    assert {emotion.name: emotion.known for emotion in found} == {name: name in FER2013 for name in FERPLUS}
    assert "joy" in next(emotion for emotion in found if emotion.name == "happy").aliases
    (model,) = client.models()
    assert (model.tag, model.sha256, model.emotions) == (TAG, tiny_sampler().sha256, FER2013)


def test_a_picture_is_verified_as_bytes_and_as_a_file(client: Both, tmp_path: Path) -> None:
    face = client.generate("fear", seed="Ada", format="webp")
    face.save(tmp_path / "face.webp")
    for picture in (face.content, tmp_path / "face.webp", str(tmp_path / "face.webp")):
        verdict = client.verify(picture)
        assert (verdict.verified, verdict.exact, verdict.seed, verdict.emotion) == (True, True, "Ada", "fear")
    bare = io.BytesIO()
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(bare, "PNG")
    verdict = client.verify(bare.getvalue())
    assert (verdict.verified, verdict.exact, verdict.seed, verdict.size) == (False, None, None, (48, 48))
    with pytest.raises(FileNotFoundError):
        client.verify(tmp_path / "none.png")


def test_what_is_wrong_is_named(client: Both) -> None:
    with pytest.raises(InvalidRequest, match="did you mean 'happy'") as caught:
        client.generate("hapy")
    error = caught.value
    assert (error.status, error.title, error.errors[0].where) == (422, "Unprocessable Content", "#/emotion")
    assert error.errors[0].allowed == FER2013
    assert error.request_id
    with pytest.raises(InvalidRequest, match="intensity must be"):
        client.generate("happy", intensity=2)
    with pytest.raises(InvalidRequest, match="no whole picture"):
        client.verify(b"hello")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_keys_and_rates(mode: str) -> None:
    key, line = new_key("alice")
    settings = SETTINGS.model_copy(update={"api_keys": type(SETTINGS.api_keys)(line), "key_rate": "2/hour"})
    with serving(create_app(settings, StubSampler())) as (_, url):
        with pytest.raises(KeyRefused, match="needs a key"):
            Both(mode, url).emotions()
        with pytest.raises(KeyRefused, match="not known here"):
            Both(mode, url, key="wrong").emotions()
        mine = Both(mode, url, key=key)
        mine.emotions()
        mine.emotions()
        with pytest.raises(RateLimited) as caught:
            mine.emotions()  # and it does not wait for an hour
        assert caught.value.retry_after is not None
        assert caught.value.retry_after > 30


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_service_that_is_full_is_asked_again_when_it_says(mode: str) -> None:
    sampler = StubSampler()
    settings = SETTINGS.model_copy(update={"queue_limit": 1})
    with live(create_app(settings, sampler)) as other:
        url = str(other.base_url)
        sampler.gate.clear()
        first = threading.Thread(target=other.post, args=("/generate",), kwargs={"json": {"emotion": "sad", "seed": 1}})
        first.start()
        assert sampler.entered.wait(10)
        with pytest.raises(Unavailable, match="Too many faces are waiting") as caught:
            Both(mode, url, retries=0).generate("happy", seed=2)
        assert caught.value.retry_after == 1

        def refused() -> bool:
            return 'route="/generate",status="503"} 2.0' in other.get("/metrics").text

        def let_in() -> None:
            until_now(refused)
            sampler.gate.set()

        opened = threading.Thread(target=let_in)
        opened.start()
        assert Both(mode, url).generate("happy", seed=2).seed == 2
        opened.join()
        first.join()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_nobody_at_the_address(mode: str) -> None:
    with pytest.raises(Unreachable, match=r"No answer came from http://127\.0\.0\.1:1/"):
        Both(mode, "http://127.0.0.1:1", retries=0).emotions()
    with pytest.raises(Unreachable, match="protocol"):
        Both(mode, "ftp://127.0.0.1").emotions()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_somebody_else_at_the_address(mode: str, address: str) -> None:
    with pytest.raises(InvalidRequest, match="nothing at this address"):
        Both(mode, f"{address}/docs").generate("happy")
    page = httpx.MockTransport(lambda request: httpx.Response(200, html="<p>Welcome</p>"))
    for ask in ("emotions", "models"):
        with pytest.raises(UnexpectedAnswer, match="no emoface"):
            getattr(Both(mode, address, transport=page), ask)()
    with pytest.raises(UnexpectedAnswer):
        Both(mode, address, transport=page).generate("happy")
    stream = httpx.ByteStream(b"no gzip")
    garbled = httpx.MockTransport(
        lambda request: httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=stream)
    )
    with pytest.raises(Unreachable, match="decompressing"):
        Both(mode, address, transport=garbled, retries=0).emotions()


def test_both_clients_can_do_the_same() -> None:
    def methods(kind: type) -> dict[str, inspect.Signature]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}

    ours, theirs = methods(Client), methods(AsyncClient)
    assert ours.pop("close") == theirs.pop("aclose")
    assert ours == theirs
    assert {"generate", "batch", "morph", "emotions", "models", "verify"} == set(ours)


def test_the_options_are_the_services() -> None:
    assert set(FaceOptions.__annotations__) == set(GenerateRequest.model_fields) - {"emotion"}
    assert all(hasattr(package, name) for name in package.__all__)
    for error in (InvalidRequest, KeyRefused, RateLimited, Unavailable, UnexpectedAnswer, Unreachable):
        assert issubclass(error, EmofaceError)


def test_a_hundred_at_once(address: str) -> None:
    async def draw() -> list[Face]:
        async with AsyncClient(address) as client:
            return await asyncio.gather(*(client.generate("happy", seed=seed) for seed in range(100)))

    assert [face.seed for face in asyncio.run(draw())] == list(range(100))

"""POST /generate and its neighbours over a real connection."""

from __future__ import annotations

import asyncio
import io
import random
import socket
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from model import EmotionMix, FaceRequest, encode_face
from model.emotions import FER2013
from service.api import answer
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live, serving, tiny_sampler, until_now

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """A service with a real, small, random network."""
    with live(create_app(SETTINGS, tiny_sampler())) as client:
        yield client


def picture(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    image = Image.open(io.BytesIO(response.content))
    image.load()
    return image


@pytest.mark.parametrize("kind", ["png", "webp", "jpeg", "avif"])
@pytest.mark.parametrize("size", [None, 48, 100, 1024])
def test_format_and_size(client: httpx.Client, kind: str, size: int | None) -> None:
    body: dict[str, Any] = {"emotion": "happy", "seed": 7, "format": kind}
    response = client.post("/generate", json=body | ({"size": size} if size else {}))
    image = picture(response)
    assert response.headers["content-type"] == f"image/{kind}"
    assert image.format == kind.upper()
    assert image.size == (size or 48,) * 2


def test_the_pixels_are_the_samplers(client: httpx.Client) -> None:
    wish = {
        "emotion": {"joy": 7, "surprised": 3},
        "seed": "Ada",
        "intensity": 1.2,
        "truncation": 0.5,
        "size": 96,
    }
    mix = EmotionMix.parse({"happy": 0.7, "surprise": 0.3}, FER2013)
    (expected,) = tiny_sampler().sample([FaceRequest(mix, "Ada", 1.2, 0.5)])
    got = np.asarray(picture(client.post("/generate", json=wish)))
    again = np.asarray(Image.open(io.BytesIO(encode_face(expected, 96))))
    np.testing.assert_array_equal(got, again)


def test_a_png_says_what_it_is_and_how_to_draw_it_again(client: httpx.Client) -> None:
    image = picture(client.post("/generate", json={"emotion": {"sad": 1, "fear": 1}, "seed": "Zoë 笑"}))
    assert "synthetic" in image.info["Description"]
    assert image.info["emoface:seed"] == "Zoë 笑"
    assert image.info["emoface:emotion"] == str(EmotionMix.parse({"fear": 1, "sad": 1}, FER2013))
    assert image.info["emoface:sha256"] == tiny_sampler().sha256


@pytest.mark.parametrize(
    "seed",
    ["Ada Lovelace", "a\r\nX-Evil: 1", "笑", "naïve", "100%", "\x00\x7f", '"a"; b=c, d', "😀" * 256, "007"],
)
def test_any_text_is_told_in_x_seed_and_breaks_no_header(client: httpx.Client, seed: str) -> None:
    response = client.post("/generate", json={"emotion": "happy", "seed": seed})
    assert response.status_code == 200
    assert "x-evil" not in response.headers
    assert unquote(response.headers["x-seed"]) == seed
    assert response.headers["x-seed"].isascii()
    again = client.post("/generate", json={"emotion": "happy", "seed": unquote(response.headers["x-seed"])})
    assert again.content == response.content


@pytest.mark.parametrize("seed", [0, 7, 2**53 + 1, 2**63 - 1])
def test_x_seed_as_text_is_the_same_person(client: httpx.Client, seed: int) -> None:
    response = client.post("/generate", json={"emotion": "happy", "seed": seed})
    assert response.headers["x-seed"] == str(seed)
    again = client.post("/generate", json={"emotion": "happy", "seed": response.headers["x-seed"]})
    assert again.content == response.content


@pytest.mark.parametrize("without", [{}, {"seed": None}])
def test_a_drawn_seed_is_told_and_brings_the_face_back(client: httpx.Client, without: dict[str, None]) -> None:
    response = client.post("/generate", json={"emotion": "fear", **without})
    seed = int(response.headers["x-seed"])
    assert 0 <= seed < 2**53
    assert client.post("/generate", json={"emotion": "fear", "seed": seed}).content == response.content
    other = client.post("/generate", json={"emotion": "fear", **without})
    assert other.headers["x-seed"] != response.headers["x-seed"]
    assert other.content != response.content


def test_x_model_names_the_weights(client: httpx.Client) -> None:
    tag = client.post("/generate", json={"emotion": "sad"}).headers["x-model"]
    assert tag == f"tiny@{tiny_sampler().sha256[:12]}"
    assert client.get("/emotions").json()["model"] == tag


def test_a_weights_file_of_any_name_breaks_no_header() -> None:
    sampler = StubSampler()
    sampler.name = "gesichter ü\r\nx"
    with live(create_app(SETTINGS, sampler)) as client:
        response = client.post("/generate", json={"emotion": "happy"})
    assert unquote(response.headers["x-model"]).startswith("gesichter ü\r\nx@")


def test_same_request_same_bytes_whatever_the_load(client: httpx.Client) -> None:
    """Forty different requests, each asked for alone, then all at once and three times, in mixed batches."""
    shuffle = random.Random(5)
    wishes: list[dict[str, Any]] = [
        {
            "emotion": shuffle.choice([*FER2013, {"happy": 0.5, "sad": 0.5}]),
            "seed": shuffle.choice([shuffle.randrange(2**63), f"name {n}"]),
            "intensity": shuffle.choice([0, 0.5, 1, 1.5]),
            "size": shuffle.choice([None, 48, 64, 300]),
            "format": shuffle.choice(["png", "webp", "jpeg", "avif"]),
        }
        for n in range(40)
    ]
    alone = [client.post("/generate", json=wish).content for wish in wishes]
    assert len(set(alone)) == len(alone)

    async def crowd() -> list[tuple[int, bytes]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=client.base_url, timeout=60, limits=limits, trust_env=False) as many:

            async def one(index: int) -> tuple[int, bytes]:
                response = await many.post("/generate", json=wishes[index])
                assert response.status_code == 200, response.text
                return index, response.content

            order = [index for index in range(len(wishes)) for _ in range(3)]
            shuffle.shuffle(order)
            return await asyncio.gather(*map(one, order))

    for index, content in asyncio.run(crowd()):
        assert content == alone[index], wishes[index]


def test_requests_that_wait_are_computed_together() -> None:
    sampler = StubSampler()
    app = create_app(SETTINGS, sampler)
    with live(app) as client:
        sampler.gate.clear()

        def post(seed: int) -> None:
            client.post("/generate", json={"emotion": "happy", "seed": seed})

        threads = [threading.Thread(target=post, args=(seed,)) for seed in range(6)]
        threads[0].start()
        assert sampler.entered.wait(10)
        for thread in threads[1:]:
            thread.start()
        until_now(lambda: app.state.engine.unanswered == 6)
        sampler.gate.set()
        for thread in threads:
            thread.join()
    assert [len(batch) for batch in sampler.batches] == [1, 5]


def test_a_client_that_leaves_is_not_computed_for() -> None:
    sampler = StubSampler()
    app = create_app(SETTINGS, sampler)
    with live(app) as client:
        sampler.gate.clear()
        first = threading.Thread(
            target=client.post, args=("/generate",), kwargs={"json": {"emotion": "sad", "seed": 1}}
        )
        first.start()
        assert sampler.entered.wait(10)
        address = urlsplit(str(client.base_url))
        with socket.create_connection((address.hostname or "", address.port or 0)) as leaver:
            body = b'{"emotion": "sad", "seed": 2}'
            leaver.sendall(
                b"POST /generate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            until_now(lambda: app.state.engine.unanswered == 2)
        until_now(lambda: app.state.engine.unanswered == 1)
        sampler.gate.set()
        first.join()
        assert client.post("/generate", json={"emotion": "sad", "seed": 3}).status_code == 200
    assert sampler.seeds == [1, 3]


def test_a_stop_lets_the_face_in_work_arrive() -> None:
    sampler = StubSampler()
    answers: list[httpx.Response] = []
    with serving(create_app(SETTINGS, sampler)) as (server, url):
        sampler.gate.clear()

        def post() -> None:
            answers.append(httpx.post(f"{url}/generate", json={"emotion": "sad"}, timeout=30, trust_env=False))

        thread = threading.Thread(target=post)
        thread.start()
        assert sampler.entered.wait(10)
        server.should_exit = True
        until_now(lambda: not server.servers[0].is_serving())
        sampler.gate.set()
        thread.join()
    assert [answer.status_code for answer in answers] == [200]


def test_emotions_with_aliases_and_whether_the_weights_know_them(client: httpx.Client) -> None:
    emotions = {entry["name"]: entry for entry in client.get("/emotions").json()["emotions"]}
    assert list(emotions) == [*FER2013, "contempt"]
    assert "happiness" in emotions["happy"]["aliases"]
    assert [name for name, entry in emotions.items() if not entry["known"]] == ["contempt"]
    for name in FER2013:
        face = client.post("/generate", json={"emotion": name, "seed": 7}).content
        for alias in emotions[name]["aliases"]:
            # The file says the emotion's own name, so even the text in it is the same.
            assert client.post("/generate", json={"emotion": alias, "seed": 7}).content == face


def test_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["status"] == "ready"
    assert ready.json()["device"] == "cpu"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_not_ready_but_alive_when_the_inference_thread_is_dead() -> None:
    sampler = StubSampler()
    sampler.error = SystemExit("out of the blue")
    app = create_app(SETTINGS, sampler)
    with live(app) as client:
        assert client.post("/generate", json={"emotion": "sad"}).status_code == 503
        until_now(lambda: not app.state.engine.alive)
        for response in (client.get("/readyz"), client.post("/generate", json={"emotion": "sad"})):
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200


def test_faces_are_drawn_where_openvino_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        if name == "openvino":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("model.software.version", absent)
    monkeypatch.setattr("service.api.answer._hashed", answer._hashed.__wrapped__)
    with live(create_app(SETTINGS, StubSampler())) as client:
        assert client.post("/generate", json={"emotion": "happy", "seed": 1}).status_code == 200

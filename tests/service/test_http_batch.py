"""POST /generate/batch: every request has an outcome of its own, in a ZIP, in JSON or line by line."""

from __future__ import annotations

import base64
import csv
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live, tiny_sampler, until_now
from tests.service.test_http_problems import problem

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu")
WISHES: list[dict[str, Any]] = [
    {"emotion": "happy", "seed": 7},
    {"emotion": "sad", "seed": "Zoë", "size": 96, "format": "webp"},
    {"emotion": "hapy", "seed": 7},
    {"emotion": {"happy": 1, "sad": 1}, "seed": 2**63 - 1, "intensity": 0.5},
    {"emotion": "happy", "seed": 7},
    {"seed": True, "sise": 3},
]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, tiny_sampler())) as client:
        yield client


@pytest.fixture(scope="module")
def alone(client: httpx.Client) -> list[httpx.Response]:
    return [client.post("/generate", json=wish) for wish in WISHES]


def check(face: dict[str, Any], alone: httpx.Response) -> None:
    """Compare an outcome with what POST /generate answers."""
    assert face["status"] == alone.status_code
    if alone.status_code == 200:
        assert base64.b64decode(face["image"]) == alone.content
        assert "problem" not in face
    else:
        assert face["problem"] == alone.json()
        assert "image" not in face


def test_json_has_all_of_them_in_order(client: httpx.Client, alone: list[httpx.Response]) -> None:
    answer = client.post("/generate/batch", json={"requests": WISHES}, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    assert body["model"] == answer.headers["x-model"] == alone[0].headers["x-model"]
    assert [face["index"] for face in body["faces"]] == list(range(len(WISHES)))
    for face, single in zip(body["faces"], alone, strict=True):
        check(face, single)
    assert body["faces"][3]["seed"] == str(2**63 - 1)


def test_lines_have_all_of_them(client: httpx.Client, alone: list[httpx.Response]) -> None:
    answer = client.post("/generate/batch", json={"requests": WISHES, "output": "ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    faces = [json.loads(line) for line in answer.text.splitlines()]
    assert sorted(face["index"] for face in faces) == list(range(len(WISHES)))
    for face in faces:
        check(face, alone[face["index"]])


def test_the_archive_has_the_files_and_a_manifest(client: httpx.Client, alone: list[httpx.Response]) -> None:
    answer = client.post("/generate/batch", json={"requests": WISHES})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="faces.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
        assert [int(row["index"]) for row in rows] == list(range(len(WISHES)))
        files = [row["file"] for row in rows if row["file"]]
        assert sorted([*files, "manifest.csv"]) == sorted(archive.namelist())
        for row, single in zip(rows, alone, strict=True):
            assert int(row["status"]) == single.status_code
            if row["file"]:
                assert archive.read(row["file"]) == single.content
            else:
                assert row["error"] == single.json()["detail"]
    assert files[0] == "000-happy-7.png"
    assert rows[1]["seed"] == "Zoë"


def test_the_same_batch_is_the_same_archive(client: httpx.Client) -> None:
    one, two = (client.post("/generate/batch", json={"requests": WISHES}).content for _ in range(2))
    assert one == two


def test_a_line_comes_as_soon_as_its_face_is_ready() -> None:
    sampler = StubSampler()
    sampler.batch_size = 1
    wishes = [{"emotion": "sad", "seed": seed} for seed in range(3)]
    with live(create_app(SETTINGS, sampler)) as client:
        client.get("/faces/sad/1.png")  # lies ready
        sampler.gate.clear()
        body = {"requests": wishes, "output": "ndjson"}
        with client.stream("POST", "/generate/batch", json=body) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["index"] == 1
            sampler.gate.set()
            assert sorted(json.loads(line)["index"] for line in lines) == [0, 2]


def test_who_leaves_a_batch_is_not_drawn_for() -> None:
    sampler = StubSampler()
    sampler.batch_size = 1
    app = create_app(SETTINGS, sampler)
    with live(app) as client:
        sampler.gate.clear()
        wishes = [{"emotion": "sad", "seed": seed} for seed in range(200)]
        with client.stream("POST", "/generate/batch", json={"requests": wishes}):
            until_now(lambda: app.state.engine.unanswered == 64)  # not all at once: others want their turn
        until_now(lambda: app.state.engine.unanswered == 0)
        sampler.gate.set()
        assert client.get("/faces/happy/7.png").status_code == 200
    assert len(sampler.seeds) <= 3


def test_a_failed_face_is_a_500_of_its_own() -> None:
    sampler = StubSampler()
    sampler.batch_size = 1
    sampler.error = RuntimeError("secret /home/somebody/thing.py")
    wishes = [{"emotion": "sad", "seed": seed} for seed in range(3)]
    with live(create_app(SETTINGS, sampler)) as client:
        answer = client.post("/generate/batch", json={"requests": wishes, "output": "json"})
    assert [face["status"] for face in answer.json()["faces"]] == [500, 200, 200]
    assert "secret" not in answer.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_with_no_engine_there_is_no_batch() -> None:
    sampler = StubSampler()
    sampler.error = SystemExit("out of the blue")
    app = create_app(SETTINGS, sampler)
    with live(app) as client:
        assert client.get("/faces/sad/7.png").status_code == 503
        until_now(lambda: not app.state.engine.alive)
        problem(client.post("/generate/batch", json={"requests": WISHES}), 503)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"requests": []}, "#/requests"),
        ({"requests": [{"emotion": "sad"}] * 257}, "#/requests"),
        ({}, "#/requests"),
        ({"requests": [7]}, "#/requests"),
        ({"requests": WISHES, "output": "tar"}, "#/output"),
        ({"requests": WISHES, "outptu": "zip"}, "#/outptu"),
        ([], "#"),
    ],
)
def test_a_wrong_batch_is_named(client: httpx.Client, body: Any, pointer: str) -> None:
    (error,) = problem(client.post("/generate/batch", json=body), 422)["errors"]
    assert error["pointer"] == pointer


def test_nothing_acceptable(client: httpx.Client) -> None:
    answer = client.post("/generate/batch", json={"requests": WISHES}, headers={"Accept": "image/png"})
    assert "application/zip" in problem(answer, 406)["detail"]


def test_256_faces_at_once_and_single_ones_between(client: httpx.Client) -> None:
    wishes = [{"emotion": "sad", "seed": seed} for seed in range(256)]
    answers: list[httpx.Response] = []

    def post() -> None:
        answers.append(client.post("/generate/batch", json={"requests": wishes, "output": "json"}))

    thread = threading.Thread(target=post)
    thread.start()
    single = client.post("/generate", json={"emotion": "fear", "seed": 1})
    thread.join()
    assert single.status_code == 200
    faces = answers[0].json()["faces"]
    assert [face["status"] for face in faces] == [200] * 256
    assert base64.b64decode(faces[9]["image"]) == client.get("/faces/sad/9.png").content

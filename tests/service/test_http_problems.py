"""Whatever goes wrong is a problem of RFC 9457, and says nothing it should not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.security import MAX_BODY
from service.settings import Settings
from tests.service.serving import StubSampler, live, until_now

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu", queue_limit=2)
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, StubSampler())) as client:
        yield client


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check the form that all problems have, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"].endswith((".", "?", ")"))
    for secret in ("Traceback", ".py", "site-packages", "/home", "pydantic", "0x"):
        assert secret not in response.text
    return body


def test_nothing_there(client: httpx.Client) -> None:
    problem(client.get("/nope"), 404)
    problem(client.get("/static-offline-docs/nope.js"), 404)
    problem(client.get("/static-offline-docs/..%2f..%2fsettings.py"), 404)


def test_wrong_method_keeps_its_allow_header(client: httpx.Client) -> None:
    response = client.get("/generate")
    problem(response, 405)
    assert response.headers["allow"] == "POST"
    problem(client.post("/emotions"), 405)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"])
def test_wrong_content_type(client: httpx.Client, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = client.post("/generate", content=b'{"emotion": "happy"}', headers=headers)
    assert "Content-Type: application/json" in problem(response, 415)["detail"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/face+json"])
def test_right_content_types(client: httpx.Client, kind: str) -> None:
    response = client.post("/generate", content=b'{"emotion": "happy"}', headers={"Content-Type": kind})
    assert response.status_code == 200


@pytest.mark.parametrize("body", [b"{", b"", b"happy", b"[]", b"null", b"7", b'"happy"', b'{"emotion": }'])
def test_malformed_json(client: httpx.Client, body: bytes) -> None:
    (error,) = problem(client.post("/generate", content=body, headers=JSON), 422)["errors"]
    assert error["pointer"] == "#"
    assert "JSON" in error["detail"]


@pytest.mark.parametrize(
    "body",
    [b'{"emotion": "\xff"}', b"[" * 60_000, b'{"seed": ' + b"9" * 5000 + b"}", '{"é": 1}'.encode("utf-16")],
)
def test_json_that_no_parser_takes(client: httpx.Client, body: bytes) -> None:
    response = client.post("/generate", content=body, headers=JSON)
    problem(response, response.status_code)
    assert response.status_code in (400, 422)


def test_every_wrong_field_is_named_with_what_is_allowed(client: httpx.Client) -> None:
    wish = {"emotion": "happy", "seed": True, "size": 10, "format": "jpg", "intensty": 1, "intensity": 9}
    body = problem(client.post("/generate", json=wish), 422)
    errors = {error["pointer"]: error for error in body["errors"]}
    assert set(errors) == {"#/seed", "#/size", "#/format", "#/intensty", "#/intensity"}
    assert errors["#/size"]["allowed"] == "a whole number of pixels from 48 to 1024"
    assert errors["#/format"]["allowed"] == ["png", "webp", "jpeg", "avif"]
    assert "did you mean 'intensity'?" in errors["#/intensty"]["detail"]
    assert "(4 more in 'errors'.)" in body["detail"]


def test_an_unknown_emotion_gets_a_suggestion_and_the_vocabulary(client: httpx.Client) -> None:
    body = problem(client.post("/generate", json={"emotion": "hapy"}), 422)
    assert "did you mean 'happy'?" in body["detail"]
    (error,) = body["errors"]
    assert error["pointer"] == "#/emotion"
    assert error["allowed"] == list(StubSampler.emotions)
    problem(client.post("/generate", json={"emotion": "contempt"}), 422)
    problem(client.post("/generate", json={"emotion": {"happy": 0, "sad": 0}}), 422)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["intensity", "truncation", "weight"])
def test_numbers_that_are_none(client: httpx.Client, field: str, literal: str) -> None:
    rest = f'"happy", "{field}": {literal}' if field != "weight" else f'{{"happy": {literal}}}'
    response = client.post("/generate", content=f'{{"emotion": {rest}}}'.encode(), headers=JSON)
    (error,) = problem(response, 422)["errors"]
    assert error["pointer"] == ("#/emotion/happy" if field == "weight" else f"#/{field}")


def test_a_body_over_the_limit_announced_or_streamed(client: httpx.Client) -> None:
    blank = b" " * (MAX_BODY - 20)
    assert client.post("/generate", content=b'{"emotion": "sad"}' + blank, headers=JSON).status_code == 200
    detail = problem(client.post("/generate", content=b" " * (MAX_BODY + 1), headers=JSON), 413)["detail"]
    assert str(MAX_BODY) in detail

    def stream() -> Iterator[bytes]:
        yield from (b" " * 1000 for _ in range(MAX_BODY // 1000 + 1))

    problem(client.post("/generate", content=stream(), headers=JSON), 413)


def test_a_failing_batch_is_a_500_without_its_cause() -> None:
    sampler = StubSampler()
    sampler.error = RuntimeError("secret /home/somebody/thing.py")
    with live(create_app(SETTINGS, sampler)) as client:
        assert "secret" not in problem(client.post("/generate", json={"emotion": "sad"}), 500)["detail"]
        assert client.post("/generate", json={"emotion": "sad"}).status_code == 200


def test_a_bug_in_a_route_is_a_500_without_its_cause() -> None:
    app = create_app(SETTINGS, StubSampler())

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError("secret /home/somebody/thing.py")

    with live(app) as client:
        assert "secret" not in problem(client.get("/bug"), 500)["detail"]


def test_a_full_queue_is_a_503_that_says_when_to_come_again() -> None:
    sampler = StubSampler()
    app = create_app(SETTINGS, sampler)
    with live(app) as client:
        sampler.gate.clear()
        statuses: list[int] = []

        def post() -> None:
            statuses.append(client.post("/generate", json={"emotion": "sad"}).status_code)

        threads = [threading.Thread(target=post) for _ in range(2)]
        for thread in threads:
            thread.start()
        until_now(lambda: app.state.engine.unanswered == 2)
        response = client.post("/generate", json={"emotion": "sad"})
        problem(response, 503)
        assert int(response.headers["retry-after"]) >= 1
        sampler.gate.set()
        for thread in threads:
            thread.join()
        assert statuses == [200, 200]
        assert client.post("/generate", json={"emotion": "sad"}).status_code == 200

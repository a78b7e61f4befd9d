"""The short way of POST /generate: nobody can tell that it was taken, whatever they send."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from service.access.keys import new_key
from service.api.direct import Direct
from service.app import create_app
from service.settings import Settings
from tests.service.serving import StubSampler, live
from tests.service.test_request_schema import anything, good

GOOD = b'{"emotion": "sad", "seed": 4}'
SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu", queue_limit=1, deadline_seconds=20)


class Broken:
    """In place of all that lies behind the short way: passes nothing but what opens and closes the application."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan", "a well-formed request was passed on"
        await self._app(scope, receive, send)


def place_of_direct(app: FastAPI) -> int:
    kinds: list[Any] = [middleware.cls for middleware in app.user_middleware]
    return kinds.index(Direct)


@pytest.fixture(scope="module", params=["open", "gated"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """The service as it is, and without the short way; each client has its key, where one is needed."""
    key, line = new_key("alice")
    settings = SETTINGS
    if request.param == "gated":
        settings = SETTINGS.model_copy(update={"api_keys": SecretStr(line), "key_rate": "1000000/hour"})
    longer = create_app(settings, StubSampler())
    del longer.user_middleware[place_of_direct(longer)]
    with live(create_app(settings, StubSampler())) as shorter, live(longer) as client:
        for one in (shorter, client):
            one.headers["X-API-Key"] = key
        yield shorter, client


def told(client: httpx.Client, body: Any, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    answer = client.post("/generate", content=body, headers={"Content-Type": "application/json", **headers})
    own = ("x-request-id", "server-timing", "date", "ratelimit", "ratelimit-policy")
    return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k not in own}


def drawn(body: bytes) -> bool:
    """Whether a seed has to be drawn for a request."""
    return json.loads(body).get("seed") is None


#: JSON as people write it, and as they should not: what one parser takes and another does not, above all.
odd = st.sampled_from(
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"happy"',
        b'\xef\xbb\xbf{"emotion": "happy", "seed": 1}',
        '{"emotion": "happy", "seed": 1}'.encode("utf-16"),
        b'{"emotion": "happy", "seed": "\xff"}',
        b'{"emotion": "happy", "seed": "\\ud800"}',
        b'{"emotion": "happy", "seed": "a\x00b"}',
        b'{"emotion": "happy", "seed": 1, "seed": 2}',
        b'{"emotion": "nonsense", "emotion": "happy", "seed": 3}',
        b'{"emotion": {"happy": 1, "happy": 3, "sad": 1}, "seed": 3}',
        b'{"emotion": "happy", "seed": 1e0}',
        b'{"emotion": "happy", "seed": -0}',
        b'{"emotion": "happy", "seed": 01}',
        b'{"emotion": "happy", "seed": 123456789012345678901234567890}',
        b'{"emotion": "happy", "seed": 1, "intensity": NaN}',
        b'{"emotion": "happy", "seed": 1, "intensity": -0.0}',
        b'{"emotion": "happy", "seed": 1, "intensity": 0.30000000000000004}',
        b'{"emotion": "happy", "seed": 1, "truncation": 1e400}',
        b'{"emotion": {"happy": Infinity}, "seed": 1}',
        b'{"emotion": "happy", "seed": 1} x',
        b'{"emotion": "happy", "seed": 1,}',
        b'{"emotion": "happy", "seed": true}',
        b'{"emotion": "happy", "seed": 1, "size": 48.0}',
        b"[" * 5000,
    ]
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.one_of(good, good, anything).map(lambda value: json.dumps(value).encode()) | odd | st.binary(max_size=40))
@example(b'{"emotion": "hapy", "seed": 1}')
@example(b'{"emotion": "happy", "seed": 1, "model": "other"}')
@example(b'{"emotion": {"happy": 0}, "seed": 1}')
def test_both_ways_answer_alike(both: tuple[httpx.Client, httpx.Client], body: bytes) -> None:
    short, long = (told(client, body) for client in both)
    if short[0] == long[0] == 200 and drawn(body):
        return  # by each for itself
    assert short == long


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "image/webp"},
        {"Accept": "text/html"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "APPLICATION/JSON"},
        {"Content-Type": "application/problem+json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Origin": "https://example.org"},
        {"If-None-Match": "*"},
    ],
)
def test_both_ways_heed_headers_alike(both: tuple[httpx.Client, httpx.Client], headers: dict[str, str]) -> None:
    short, long = (told(client, GOOD, **headers) for client in both)
    assert short == long


@pytest.mark.parametrize("padding", [65_536, 65_537, 70_000, 1_000_000])
@pytest.mark.parametrize("pieces", [1, 2, 50])
def test_both_ways_take_bodies_alike(both: tuple[httpx.Client, httpx.Client], padding: int, pieces: int) -> None:
    body = GOOD.ljust(padding)
    for content in (GOOD, body):
        step = -(-len(content) // pieces)
        parts = [content[at : at + step] for at in range(0, len(content), step)]
        # In pieces, nothing announces how long it is.
        short, long = (told(client, content if pieces == 1 else iter(parts)) for client in both)
        assert short == long
        assert short[0] == (200 if len(content) <= 65_536 else 413)


@pytest.mark.parametrize("gated", [False, True])
def test_a_well_formed_request_does_not_reach_the_framework(gated: bool) -> None:
    settings = SETTINGS.model_copy(update={"address_rate": "1000/hour"}) if gated else SETTINGS
    app = create_app(settings, StubSampler())
    broken: Any = Broken
    app.user_middleware.insert(place_of_direct(app) + 1, Middleware(broken))
    with live(app) as client:
        for kind in ("application/json", "Application/JSON; charset=utf-8"):
            assert told(client, GOOD, **{"Content-Type": kind})[0] == 200
        with pytest.raises(AssertionError):
            assert told(client, b'{"emotion": "sad", "seed": -1}')[0] == 422


def test_failures_are_answered_alike() -> None:
    sampler = StubSampler()
    app = create_app(SETTINGS.model_copy(update={"deadline_seconds": 0.2}), sampler)
    with live(app) as client:
        sampler.error = RuntimeError("boom")
        status, content, _ = told(client, b'{"emotion": "sad", "seed": 1}')
        assert status == 500
        assert b"boom" not in content
        sampler.gate.clear()
        status, content, headers = told(client, b'{"emotion": "sad", "seed": 2}')
        assert (status, headers["content-type"]) == (503, "application/problem+json")
        assert headers["retry-after"]
        sampler.gate.set()
        figures = client.get("/metrics").text
        assert 'emoface_http_requests_total{method="POST",route="/generate",status="503"} 1.0' in figures

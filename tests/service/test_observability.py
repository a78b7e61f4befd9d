"""Figures, request ids and the log: what happened is counted, and nobody's name is written down."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from service.app import create_app
from service.later import Later
from service.observability import JsonLines, Metrics, Observed
from service.settings import Settings
from tests.service.serving import StubSampler, live, until_now

SETTINGS = Settings(host="127.0.0.1", port=0, device="cpu", queue_limit=2, deadline_seconds=20)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with live(create_app(SETTINGS, StubSampler())) as client:
        yield client


def figures(client: httpx.Client) -> dict[str, float]:
    """Read /metrics: name{labels} to value."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for name, labels, value, *_ in family.samples:
            found[name + "".join(f" {key}={labels[key]}" for key in sorted(labels))] = value
    return found


def test_faces_are_counted_by_what_became_of_them(client: httpx.Client) -> None:
    before = figures(client)
    assert {before[f"emoface_faces_total outcome={event}"] for event in ("made", "ready", "refused", "late")} == {0}
    for seed in (1, 2, 1):
        assert client.get(f"/faces/sad/{seed}.png").status_code == 200
    after = figures(client)
    assert after["emoface_faces_total outcome=made"] == 2
    assert after["emoface_faces_total outcome=ready"] == 1
    assert after["emoface_batch_faces_sum"] == after["emoface_queue_seconds_count"] == 2
    assert after["emoface_generate_seconds_count"] == after["emoface_encode_seconds_count"] == 2
    assert after["emoface_cache_bytes"] > 0
    assert after["emoface_engine_alive"] == 1
    assert after[f"emoface_model_info device=cpu name=stub sha256={StubSampler.sha256}"] == 1


def test_what_is_refused_late_abandoned_or_fails_is_counted() -> None:
    sampler = StubSampler()
    app = create_app(SETTINGS.model_copy(update={"deadline_seconds": 1.0}), sampler)
    with live(app) as client:
        sampler.error = RuntimeError("boom")
        assert client.get("/faces/sad/1.png").status_code == 500
        sampler.gate.clear()
        threads = [threading.Thread(target=client.get, args=(f"/faces/sad/{seed}.png",)) for seed in (2, 3)]
        for thread in threads:
            thread.start()
        until_now(lambda: app.state.engine.unanswered == 2)
        assert figures(client)["emoface_unanswered_faces"] == 2
        assert client.get("/faces/sad/4.png").status_code == 503
        for thread in threads:
            thread.join()
        with pytest.raises(httpx.ReadTimeout):
            client.get("/faces/sad/5.png", timeout=0.2)
        until_now(lambda: app.state.engine.unanswered == 0)
        sampler.gate.set()
        found = figures(client)
    counts = {
        event: found[f"emoface_faces_total outcome={event}"] for event in ("refused", "late", "abandoned", "failed")
    }
    assert counts == {"refused": 1, "late": 2, "abandoned": 1, "failed": 1}


def test_requests_are_counted_by_route_and_never_by_address(client: httpx.Client) -> None:
    for address in ("/faces/sad/Ada%20Lovelace.png", "/faces/hapy/Ada%20Lovelace.png", "/nope/Ada"):
        client.get(address)
    client.request("BREW", "/emotions")
    text = client.get("/metrics").text
    assert "Ada" not in text
    assert "nope" not in text
    assert "BREW" not in text
    found = figures(client)
    route = "/faces/{emotion}/{seed}.{format}"
    assert found[f"emoface_http_requests_total method=GET route={route} status=200"] == 1
    assert found[f"emoface_http_requests_total method=GET route={route} status=422"] == 1
    assert found["emoface_http_requests_total method=GET route=none status=404"] == 1
    assert found[f"emoface_http_request_seconds_count route={route}"] == 2


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 128])
def test_a_request_keeps_the_id_that_it_came_with(client: httpx.Client, given: str) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "é"])
def test_an_id_that_could_break_a_log_is_replaced(client: httpx.Client, given: str) -> None:
    ids = {
        client.get("/healthz", headers={b"X-Request-ID": given.encode("latin-1")}).headers["x-request-id"]
        for _ in range(2)
    }
    assert len(ids) == 2
    assert all(len(found) == 16 and int(found, 16) >= 0 for found in ids)


def test_problems_have_an_id_too(client: httpx.Client) -> None:
    for answer in (client.get("/nope"), client.post("/generate", content=b"x" * 70_000)):
        assert answer.status_code in (404, 413)
        assert answer.headers["x-request-id"]


def test_every_request_leaves_a_line_without_names(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "emoface.access")
    client.get("/faces/sad/Ada%20Lovelace.png", headers={"X-Request-ID": "seven"})
    client.post("/generate", json={"emotion": "sad", "seed": "Ada Lovelace"})
    until_now(lambda: len(caplog.records) >= 2)
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert "Ada" not in str(lines)
    line = next(line for line in lines if line.get("request_id") == "seven")
    assert (line["method"], line["status"], line["level"]) == ("GET", 200, "info")
    assert line["milliseconds"] > 0
    assert line["bytes"] > 100


def test_a_traceback_stays_inside_its_line() -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "said %s", ("it",), __import__("sys").exc_info()
        )
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["message"], line["level"]) == ("said it", "error")
    assert "two\nlines" in line["exception"]


@pytest.mark.parametrize(("begun", "status"), [(False, "503"), (True, "200")])
def test_what_is_cut_off_at_the_end_is_counted_as_what_it_is_told(begun: bool, status: str) -> None:
    later = Later()
    metrics = Metrics(StubSampler(), later)

    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(60)

    async def send(message: Message) -> None:
        pass

    async def cut_off() -> None:
        scope: Scope = {"type": "http", "method": "GET", "headers": []}
        task = asyncio.create_task(Observed(hangs, metrics, later)(scope, None, send))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cut_off())
    counted = f'emoface_http_requests_total{{method="GET",route="none",status="{status}"}} 1.0'
    assert counted in metrics.text().decode().splitlines()

"""Slow clients: each kind is told or dropped in time, and nobody else is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from service import connections
from service.app import create_app
from service.connections import BodyDeadline, LastWord, allow_many, timed_protocol
from service.settings import Settings
from tests.e2e.processes import Answer, Lost, Wire, head, post
from tests.service.serving import StubSampler, until_now

SECONDS = 0.5
KEEP_ALIVE = 2
GET = head("/healthz")
LARGE = 2**24  # bytes; more than the kernel keeps for a connection


@contextmanager
def timed(app: ASGIApp) -> Iterator[str]:
    """Serve ``app`` as :mod:`service.main` does, and end it with open requests after a second; yields its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(256)
        server = uvicorn.Server(
            uvicorn.Config(
                LastWord(BodyDeadline(app, SECONDS)),
                http=timed_protocol(SECONDS),
                log_config=None,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=1,
            )
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def sampler() -> StubSampler:
    return StubSampler()


@pytest.fixture(scope="module")
def url(sampler: StubSampler) -> Iterator[str]:
    with timed(create_app(Settings(), sampler)) as url:
        yield url


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    with Wire(url) as wire:
        yield wire


def trickle(wire: Wire, data: bytes) -> None:
    """Send a byte now and then, for as long as the other end takes them; ``data`` would last for half a minute."""

    def send() -> None:
        try:
            for byte in data * (1500 // len(data)):
                wire.socket.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass

    threading.Thread(target=send, daemon=True).start()


def check_408(answer: Answer, what: str) -> None:
    assert answer.status == 408
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert json.loads(answer.body)["detail"] == f"The {what} did not arrive within 0.5 seconds; send it again."


@contextmanager
def in_time(least: float = SECONDS) -> Iterator[None]:
    """What begins in the block takes at least ``least`` seconds, and not for ever."""
    began = time.monotonic()
    yield
    assert least * 0.9 <= time.monotonic() - began < least + 30


def test_a_connection_on_which_nothing_comes_is_closed_without_a_word(url: str) -> None:
    with in_time(), Wire(url) as wire:
        assert wire.rest() == b""


@pytest.mark.parametrize("slowly", [False, True])
def test_a_head_that_does_not_end(url: str, slowly: bool) -> None:
    with in_time(), Wire(url) as wire:
        if slowly:
            trickle(wire, b"GET /healthz HTTP/1.1\r\n" + b"X-Slow: x\r\n" * 100)
        else:
            wire.send(GET[:-1])
        check_408(wire.answer(), "request")
        assert wire.rest() == b""


@pytest.mark.parametrize("data", [GET[:-1], b"\r\n"])
def test_a_later_head_that_does_not_end_counts_from_its_first_byte(wire: Wire, data: bytes) -> None:
    wire.send(GET)
    assert wire.answer().status == 200
    time.sleep(2 * SECONDS)
    wire.send(GET)
    assert wire.answer().status == 200
    with in_time():
        trickle(wire, data)
        check_408(wire.answer(), "request")
        assert wire.rest() == b""


@pytest.mark.parametrize("slowly", [False, True])
def test_a_body_that_does_not_end(wire: Wire, slowly: bool) -> None:
    with in_time():
        wire.send(head("/generate", 1000), b"{")
        if slowly:
            trickle(wire, b" ")
        answer = wire.answer()
        check_408(answer, "body")
        assert "x-request-id" in answer.headers
        wire.rest()


def test_a_body_that_nobody_reads_does_not_hold_the_connection(wire: Wire) -> None:
    with in_time():
        wire.send(head("/nowhere", 1000), b"{")
        assert wire.answer().status == 404
        trickle(wire, b" ")
        assert wire.rest() == b""


def test_after_a_body_that_nobody_read_the_connection_is_as_any_other(wire: Wire) -> None:
    wire.send(head("/nowhere", 4), b"{")
    assert wire.answer().status == 404
    wire.send(b"   ")
    time.sleep(2 * SECONDS)
    wire.send(GET)
    assert wire.answer().status == 200
    wire.send(head("/nowhere", 4), b"{")
    assert wire.answer().status == 404
    with in_time(KEEP_ALIVE):
        wire.send(b"   ")
        assert wire.rest() == b""


def test_a_body_that_a_get_announces_and_nobody_reads_is_not_waited_for(wire: Wire, sampler: StubSampler) -> None:
    sampler.gate.clear()
    wire.send(head("/faces/happy/1.png", 100, "GET"))
    time.sleep(2 * SECONDS)
    sampler.gate.set()
    assert wire.answer().status == 200


def test_an_answer_takes_as_long_as_it_takes(wire: Wire, sampler: StubSampler) -> None:
    sampler.gate.clear()
    wire.send(*post("/generate", emotion="happy", seed=2), GET[:-1])
    time.sleep(2 * SECONDS)
    wire.send(GET[-1:], GET[:-1])  # the end of one, and a half that waits for the answer as well
    time.sleep(2 * SECONDS)
    sampler.gate.set()
    assert [wire.answer().status for _ in range(2)] == [200, 200]
    check_408(wire.answer(), "request")
    assert wire.rest() == b""


def test_a_quick_client_is_not_cut_off(wire: Wire) -> None:
    end = time.monotonic() + 3 * SECONDS
    while time.monotonic() < end:
        wire.send(*post("/generate", emotion="happy", seed=3))
        assert wire.answer().status == 200


@contextmanager
def large(pieces: int) -> Iterator[tuple[str, list[str]]]:
    """Serve :data:`LARGE` bytes in some pieces; yields the address, and the paths of those who asked and have gone."""
    gone: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        piece = bytes(LARGE // pieces)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
        for left in reversed(range(pieces)):
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.append(scope["path"])

    with timed(app) as url:
        yield url, gone


@pytest.mark.parametrize("pieces", [1, 512])
def test_who_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    monkeypatch.setattr(connections, "SLOWEST", LARGE * 10)
    with large(pieces) as (url, gone), Wire(url, buffer=4096) as wire:
        with in_time():
            wire.send(GET)
            until_now(lambda: wire.dropped)
        until_now(lambda: gone == ["/healthz"])
        assert len(wire.rest()) < LARGE


@pytest.mark.parametrize(
    ("pieces", "slowest"),
    # It would be dropped if the time were not in proportion to what waits, or went on after what waited has been read.
    [(1, LARGE // 10), (512, LARGE // 2)],
)
def test_who_reads_slowly_but_steadily_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch, pieces: int, slowest: int
) -> None:
    monkeypatch.setattr(connections, "SLOWEST", slowest)
    with large(pieces) as (url, _), Wire(url, buffer=2**18) as wire, in_time(2):
        wire.send(GET)
        got = 0
        while got < LARGE:
            got += len(wire.socket.recv(LARGE // 16, socket.MSG_WAITALL))
            time.sleep(2 / 16)


@pytest.mark.parametrize("begun", [False, True])
def test_what_outlasts_the_grace_is_told(begun: bool, caplog: pytest.LogCaptureFixture) -> None:
    reached = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        reached.set()
        await asyncio.sleep(60)

    with contextlib.ExitStack() as stack:
        with timed(app) as url:
            wire = stack.enter_context(Wire(url))
            wire.send(GET)
            assert reached.wait(10)
        if begun:
            with pytest.raises(Lost):
                wire.answer()
        else:
            answer = wire.answer()
            assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")
        assert wire.rest() == b""
    assert not any(record.exc_info for record in caplog.records)


def test_it_takes_as_many_connections_as_it_may() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        allow_many()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

"""When a request is sent again, and what is waited for: no network, and no time passes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoface.client import ProblemError, RateLimited, ServiceFailed, Unavailable, Unreachable
from emoface.client.errors import problem_error
from emoface.client.retry import AGAIN, Retries, exchange, retry_after
from tests.client.both import Both

GOOD: dict[str, Any] = {"model": "x@0", "emotions": []}


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ask for the vocabulary with scripted answers; returns what came, the waits and the requests."""

    def ask(script: Sequence[Any], **settings: Any) -> tuple[Any, list[float], list[httpx.Request]]:
        waits: list[float] = []
        requests: list[httpx.Request] = []
        answers = iter(script)

        async def asleep(seconds: float) -> None:
            waits.append(seconds)

        def handle(sent: httpx.Request) -> httpx.Response:
            requests.append(sent)
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return httpx.Response(answer[0], headers=answer[1], json=GOOD)

        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", waits.append)
            patched.setattr(asyncio, "sleep", asleep)
            client = Both(request.param, "http://service", transport=httpx.MockTransport(handle), **settings)
            try:
                came = client.emotions()
            except Exception as error:
                came = error
        return came, waits, requests

    return ask


FULL = (503, {"Retry-After": "2"})
FINE: tuple[int, dict[str, str]] = (200, {})


def test_the_service_says_when(ask: Callable[..., Any]) -> None:
    came, waits, requests = ask([FULL, (429, {"Retry-After": "7"}), FINE])
    assert (came, waits, len(requests)) == ([], [2.0, 7.0], 3)


def test_it_is_the_same_request_again(ask: Callable[..., Any]) -> None:
    _, _, requests = ask([FULL, httpx.ReadTimeout("slow"), FINE], key="secret")
    assert {(sent.method, str(sent.url), sent.headers["authorization"]) for sent in requests} == {
        ("GET", "http://service/emotions", "Bearer secret")
    }


def test_it_ends(ask: Callable[..., Any]) -> None:
    came, waits, requests = ask([FULL] * 9)
    assert isinstance(came, Unavailable)
    assert (waits, len(requests)) == ([2.0] * 3, 4)
    came, waits, requests = ask([FULL] * 9, retries=0)
    assert isinstance(came, Unavailable)
    assert (waits, len(requests)) == ([], 1)
    came, waits, requests = ask([httpx.ConnectError("refused")] * 9, retries=2)
    assert isinstance(came, Unreachable)
    assert str(came) == "No answer came from http://service/: refused."
    assert len(requests) == 3


def test_a_long_wait_is_told_and_not_waited_for(ask: Callable[..., Any]) -> None:
    came, waits, _ = ask([(429, {"Retry-After": "3600"}), FINE])
    assert isinstance(came, RateLimited)
    assert (came.retry_after, waits) == (3600.0, [])
    came, waits, _ = ask([(429, {"Retry-After": "3600"}), FINE], longest_wait=3600)
    assert (came, waits) == ([], [3600.0])


def test_without_a_word_the_wait_grows_and_is_bounded(ask: Callable[..., Any]) -> None:
    came, waits, _ = ask([(500, {})] * 9, retries=8, longest_wait=1.0)
    assert isinstance(came, ServiceFailed)
    assert len(waits) == 8
    assert all(0 <= wait <= min(1.0, 0.25 * 2**n) for n, wait in enumerate(waits))


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 501])
def test_what_would_be_answered_alike_is_not_asked_again(ask: Callable[..., Any], status: int) -> None:
    came, waits, requests = ask([(status, {"Retry-After": "1"}), FINE])
    assert isinstance(came, ProblemError)
    assert (came.status, waits, len(requests)) == (status, [], 1)


def test_a_date_is_a_wait_too() -> None:
    there = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    waited = retry_after(httpx.Response(503, headers={"Retry-After": there}))
    assert waited is not None
    assert 50 < waited <= 60
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"Retry-After": past})) == 0
    for nonsense in ("", "soon", "-1", "1.5", "٣"):
        headers = [(b"Retry-After", nonsense.encode())]
        assert retry_after(httpx.Response(503, headers=headers)) is None
    assert retry_after(httpx.Response(503)) is None


@given(st.lists(st.one_of(st.sampled_from([200, 404, *AGAIN]), st.none()), max_size=12), st.integers(0, 5))
def test_it_is_sent_once_and_once_more_for_each_retry_at_most(outcomes: list[int | None], most: int) -> None:
    request = httpx.Request("GET", "http://service/emotions")
    steps = exchange(request, Retries(most))
    sent = 0
    told: list[int | None] = []
    outcome: Any = None
    last: int | None = None
    rest = iter([*outcomes, 200])
    try:
        while True:
            step = steps.send(outcome)
            outcome = None
            if step is request:
                sent += 1
                told.append(next(rest))
                outcome = httpx.ConnectError("no") if told[-1] is None else httpx.Response(told[-1])
    except StopIteration as done:
        last = done.value.status_code
    except Unreachable:
        last = None
    assert last == told[-1]
    assert 1 <= sent <= most + 1
    assert all(status is None or status in AGAIN for status in told[:-1])
    assert sent == most + 1 or told[-1] in (200, 404)


def test_a_problem_that_says_nothing_is_a_sentence_too() -> None:
    assert str(problem_error(502, {})) == "The service answered 502 Bad Gateway."
    assert str(problem_error(599, {})) == "The service answered 599 Unknown status."


def test_the_client_loads_no_torch() -> None:
    probe = "import sys, emoface.client; print(sorted({'torch', 'fastapi', 'PIL', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"

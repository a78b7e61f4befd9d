"""When a request is sent again, and after how long; the same for both clients, which send and wait.

Own code because httpx-retries comes back before a long Retry-After is over, which helps neither side: here somebody who
has no time for such a wait is told at once.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Final, TypeVar

import httpx

from emoface.client.errors import Unreachable

#: Statuses after which the same request may well succeed. Whatever is asked of the service may be asked twice.
AGAIN: Final = frozenset((429, 500, 502, 503, 504))
_FIRST: Final = 0.25  # seconds, at most, before the second attempt; twice as long before each that follows


T = TypeVar("T")
Outcome = httpx.Response | httpx.RequestError
#: Yields what is to be done, sending or waiting; is sent what came of it, and returns what all that was for.
Steps = Generator[httpx.Request | float, Outcome | None, T]


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is sent again, and how long each wait may be, seconds."""

    most: int = 3
    longest_wait: float = 30.0

    def wait(self, outcome: Outcome, attempt: int) -> float | None:
        """Return for how many seconds to wait after the ``attempt``-th outcome, from 0; None: give up."""
        if attempt >= self.most or isinstance(outcome, httpx.UnsupportedProtocol):
            return None
        told = retry_after(outcome) if isinstance(outcome, httpx.Response) else None
        if told is not None:
            return told if told <= self.longest_wait else None
        # Full jitter: clients that failed together should not come back together.
        return min(self.longest_wait, random.uniform(0, _FIRST * 2**attempt))


def retry_after(response: httpx.Response) -> float | None:
    """Return for how many seconds an answer asks to wait (RFC 9110, section 10.2.3: seconds or a date), if it does."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def exchange(request: httpx.Request, retries: Retries) -> Steps[httpx.Response]:
    """Yield what is to be done, a request to send (its outcome is wanted) or seconds to wait; return the last answer.

    Raises:
        Unreachable: the last attempt got no answer.
    """
    for attempt in count():
        outcome = yield request
        assert outcome is not None, "the outcome of a request is wanted"
        if isinstance(outcome, httpx.Response) and outcome.status_code not in AGAIN:
            return outcome
        wait = retries.wait(outcome, attempt)
        if wait is not None:
            yield wait
        elif isinstance(outcome, httpx.Response):
            return outcome
        else:
            address = request.url.copy_with(path="/", query=None)
            reason = str(outcome).rstrip(".") or type(outcome).__name__
            raise Unreachable(f"No answer came from {address}: {reason}.") from outcome
    raise AssertionError("it counts for ever")

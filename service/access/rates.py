"""How many faces somebody may ask for in a time, and the headers that say so.

Counted by the package ``limits`` in this process's memory, in windows that slide: the count of the window before
fades as this one goes on. The headers are those of draft-ietf-httpapi-ratelimit-headers-10, "RateLimit header fields
for HTTP".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

RULE: Final = 'such as "100/minute" or "20/second; 5000/hour"'
_INSTANT: Final = 1e-6  # seconds: at the very moment the old window still counts in full


class TooMany(Exception):
    """More than is allowed was asked for.

    ``seconds`` is when it will be allowed; None: never, for it is more than the limit itself.
    """

    def __init__(self, limit: RateLimitItem, seconds: float | None) -> None:
        super().__init__(f"over {_spelled(limit)}")
        self.limit = _spelled(limit)
        self.seconds = seconds


@lru_cache(1024)
def read_rates(text: str) -> tuple[RateLimitItem, ...]:
    """Read rates such as ``"20/second; 5000/hour"``.

    Raises:
        ValueError: it is none; the text says what would be one.
    """
    try:
        rates = tuple(parse_many(text))
    except ValueError:
        rates = ()
    if not rates or any(rate.amount < 1 or rate.multiples < 1 for rate in rates):
        raise ValueError(RULE)
    return tuple(sorted(rates, key=lambda rate: rate.get_expiry()))


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody whose requests are counted together, and what they may ask for."""

    name: str
    rates: tuple[RateLimitItem, ...]


class Rates:
    """The counts. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._counts = SlidingWindowCounterRateLimiter(self._storage)

    def take(self, account: Account, faces: int, counted: int = 0) -> None:
        """Count ``faces`` for an account, or none of them; ``counted`` of the same request have been counted before.

        Raises:
            TooMany: they are more than is left. All of the request will fit when it says so.
        """
        for rate in account.rates:
            if not self._counts.test(rate, account.name, cost=faces):
                whole = faces + counted
                raise TooMany(rate, None if whole > rate.amount else self._wait(rate, account, whole) + _INSTANT)
        for rate in account.rates:
            self._counts.hit(rate, account.name, cost=faces)

    def headers(self, account: Account) -> dict[str, str]:
        """Return what a client is told: what is allowed, what it has left (r), and seconds until all is left (t)."""
        if not account.rates:
            return {}
        policies, left = [], []
        for rate in account.rates:
            window = self._counts.get_window_stats(rate, account.name)
            resets = math.ceil(self._wait(rate, account, rate.amount))
            policies.append(f'"{_spelled(rate)}";q={rate.amount};w={rate.get_expiry()};qu="faces"')
            left.append(f'"{_spelled(rate)}";r={window.remaining};t={resets}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}

    def _wait(self, rate: RateLimitItem, account: Account, faces: int) -> float:
        """Return the seconds after which ``faces`` fit, if nothing else is asked for until then.

        What counts is the window before, weighted by how much of it the last ``width`` seconds hold, and this window.
        """
        width = rate.get_expiry()
        before, _, now, ends = self._storage.get_sliding_window(rate.key_for(account.name), width)
        until = ends - width  # seconds to the end of this window, in which the one before fades away
        fits = rate.amount - faces + 1  # what counts has to be below this
        if now < fits and before:
            return max(0.0, until - (fits - now) * width / before)
        return until + width * (1 - fits / now) if now else 0.0


def _spelled(rate: RateLimitItem) -> str:
    unit = rate.GRANULARITY.name
    return f"{rate.amount} a {unit}" if rate.multiples == 1 else f"{rate.amount} in {rate.multiples} {unit}s"

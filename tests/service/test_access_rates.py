"""Rates: what is allowed is allowed, what is not is told when, and what it says is true."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.access.rates import Account, Rates, TooMany, read_rates


class Time:
    """What ``limits`` and the rates take for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float = 1_000_000_000.0) -> None:
        self.now = now
        monkeypatch.setattr(time, "time", lambda: self.now)


def account(rate: str, name: str = "somebody") -> Account:
    return Account(name, read_rates(rate) if rate else ())


def taken(rates: Rates, who: Account, faces: int = 1) -> bool:
    try:
        rates.take(who, faces)
    except TooMany:
        return False
    return True


@pytest.mark.parametrize("text", ["", "often", "0/second", "-1/minute", "5/fortnight"])
def test_what_is_no_rate_says_what_would_be(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        read_rates(text)


def test_as_many_as_allowed_and_not_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    rates, who = Rates(), account("10/minute")
    assert [taken(rates, who) for _ in range(12)] == [True] * 10 + [False] * 2
    assert taken(rates, account("10/minute", "another"))


def test_what_does_not_fit_is_not_counted_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    rates, who = Rates(), account("10/second; 15/hour")
    assert not taken(rates, who, 11)
    assert taken(rates, who, 10)
    assert not taken(rates, who, 6), "of the hour no more than 5 are left"
    rates, who = Rates(), account("5/minute; 100/hour")
    assert not taken(rates, who, 6)
    assert "r=100" in rates.headers(who)["RateLimit"]


def test_more_than_the_limit_never_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch)
    with pytest.raises(TooMany) as caught:
        Rates().take(account("10/minute"), 11)
    assert caught.value.seconds is None
    assert caught.value.limit == "10 a minute"


def test_who_has_no_rate_is_not_counted() -> None:
    rates, who = Rates(), account("")
    assert all(taken(rates, who, 10**6) for _ in range(3))
    assert rates.headers(who) == {}


@example(amount=1, per="second", visits=[(1, 0.0), (1, 0.0)])
@given(
    amount=st.integers(1, 40),
    per=st.sampled_from(["second", "10 second", "minute"]),
    visits=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 90)), min_size=1, max_size=30),
)
def test_who_waits_as_long_as_told_is_let_in_and_not_before(
    amount: int, per: str, visits: list[tuple[int, float]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = Time(patch)
        rates, who = Rates(), account(f"{amount}/{per}")
        for faces, pause in visits:
            clock.now += pause
            try:
                rates.take(who, faces)
            except TooMany as error:
                if error.seconds is None:
                    assert faces > amount
                    continue
                begun, wait = clock.now, error.seconds
                clock.now = begun + wait * 0.999 - 1e-3
                early = clock.now > begun and taken(rates, who, faces)
                clock.now = begun + math.ceil(wait)
                in_time = early or taken(rates, who, faces)
                assert (early, in_time) == (False, True)


def test_the_headers_are_those_of_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time(monkeypatch, 1_000_000_020.0)  # at the beginning of a minute
    assert clock.now % 60 == 0
    rates, who = Rates(), account("100/minute")
    assert rates.headers(who) == {
        "RateLimit-Policy": '"100 a minute";q=100;w=60;qu="faces"',
        "RateLimit": '"100 a minute";r=100;t=0',
    }
    rates.take(who, 30)
    assert rates.headers(who)["RateLimit"] == '"100 a minute";r=70;t=118'

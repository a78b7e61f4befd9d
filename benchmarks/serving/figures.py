"""What is made of the measured numbers. No torch and no HTTP, so that the process that only waits stays small."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest of ``ordered`` (ascending) that at least ``percent`` of them do not exceed; NaN of none.

    The nearest rank, without interpolation: the answer is a time that somebody really waited.
    """
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


@dataclass(frozen=True)
class Spread:
    """The rounds of one figure."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum rounds up. A NaN (nothing was measured) counts for none; all NaN is NaN."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return cls(math.nan, math.nan, math.nan)
        return cls(statistics.median(known), min(known), max(known))

    def __str__(self) -> str:
        if math.isnan(self.median):
            return "-"
        if self.low == self.high:
            return digits(self.median)
        return f"{digits(self.median)} ({digits(self.low)}–{digits(self.high)})"


def digits(value: float) -> str:
    """Write a number with three significant digits, and all that stand before its point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}" if value == 0 else "-"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def allowed(bare: float, loop: float, cores: int) -> float:
    """Return the faces a second that two limits together allow on ``cores``; 1 for a lone client, who waits for both.

    ``bare`` is what a route with a ready picture answers in a second. It has one event loop, so its rate is that of one
    core: a request costs 1/bare core-seconds. ``loop`` is what generating and encoding alone reach on all cores, so a
    face costs cores/loop core-seconds. A perfect server spends both on a face, spread over all cores:
    cores / (1/bare + cores/loop), which on one core is 1 / (1/bare + 1/loop). No overlap can beat that, because every
    core is busy all the time.
    """
    if not (bare > 0 and loop > 0):
        return math.nan
    return 1 / (1 / (cores * bare) + 1 / loop)


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the straight line that fits best (least squares); NaN for fewer than two times."""
    if len(set(times)) < 2:
        return math.nan
    return statistics.linear_regression(times, values).slope


def over(ours: Sequence[float], theirs: Sequence[Sequence[float]], *, most: bool) -> list[float]:
    """Return, round by round, ours over the best peer's: the highest where ``most``, else the lowest.

    Rounds are paired, because a noisy neighbour slows down all that stand near each other in time.
    """
    ratios = []
    for index, own in enumerate(ours):
        known = [peer[index] for peer in theirs if index < len(peer) and not math.isnan(peer[index])]
        if known:
            ratios.append(own / (max(known) if most else min(known)))
    return ratios

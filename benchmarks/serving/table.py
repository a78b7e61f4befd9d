"""The rounds as one Markdown table, and the limits and ratios that matter as lines below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from benchmarks.serving.figures import Spread, allowed, digits, over

Figures = dict[str, Any]

OURS: Final = "emoface"
BARE: Final = "bare route"


class Row(NamedTuple):
    """A line of the table."""

    title: str
    read: Callable[[Figures], float]  # from what was measured of a server in a round
    most: bool = False  # whether the highest is the best


def _point(connections: int, name: str) -> Callable[[Figures], float]:
    return lambda server: server["points"][str(connections)][name]


def rows(concurrencies: Sequence[int]) -> list[Row]:
    """Return the lines of the table."""
    found = []
    for n in concurrencies:
        found.append(Row(f"requests/s at {n}", _point(n, "rate"), most=True))
        found += [Row(f"{p} at {n}, ms", _point(n, p)) for p in ("p50", "p95", "p99")]
        found.append(Row(f"CPU ms a request at {n}", _point(n, "cpu_ms")))
    found.append(Row("peak memory, MiB", lambda server: server["memory"]["peak"]))
    found.append(Row("memory, shared pages once, MiB", lambda server: server["memory"]["proportional"]))
    found.append(Row("start to first face, s", lambda server: server["first_face"]))
    return found


def values(rounds: Sequence[Figures], server: str, read: Callable[[Figures], float]) -> list[float]:
    """Return a figure of a server in every round; NaN where it was not measured."""
    found = []
    for one in rounds:
        try:
            found.append(float(read(one["servers"][server])))
        except KeyError:
            found.append(math.nan)
    return found


def table(rounds: Sequence[Figures], names: Sequence[str], concurrencies: Sequence[int]) -> str:
    """Return the table: medians of the rounds, with the lowest and the highest."""
    peers = [name for name in names if name not in (OURS, BARE)]
    lines = [f"| | {' | '.join(names)} | {OURS} / better peer |", f"|---|{'---:|' * (len(names) + 1)}"]
    for row in rows(concurrencies):
        cells = [str(Spread.of(values(rounds, name, row.read))) for name in names]
        theirs = [values(rounds, name, row.read) for name in peers]
        cells.append(str(Spread.of(over(values(rounds, OURS, row.read), theirs, most=row.most))))
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lines(rounds: Sequence[Figures], names: Sequence[str], concurrencies: Sequence[int], cores: int) -> Iterator[str]:
    """Give the limits, and what our service makes of them."""
    limit = [one["limits"] for one in rounds]

    def loop(name: str, figure: str) -> Spread:
        return Spread.of([one[name][figure] for one in limit])

    batch = limit[0]["full"]["batch"]
    yield f"- generate + encode, no HTTP: {loop('one', 'rate')} faces/s one at a time"
    yield f"  ({loop('one', 'generate_ms')} ms to generate, {loop('one', 'encode_ms')} ms to encode),"
    yield f"  {loop('full', 'rate')} in batches of {batch} on all cores,"
    yield f"  {loop('side_by_side', 'rate')} in a loop a core, side by side"
    named = {"the loop": "full", "a loop a core": "side_by_side"}
    loops = {name: [one[key]["rate"] for one in limit] for name, key in named.items()}
    for n in concurrencies:
        bare, ours = (values(rounds, name, _point(n, "rate")) for name in (BARE, OURS))
        for name, rates in loops.items():
            both = [allowed(route, alone, cores) for route, alone in zip(bare, rates, strict=True)]
            share = Spread.of([got / may for got, may in zip(ours, both, strict=True)])
            yield f"- at {n}: bare route and {name} together allow {Spread.of(both)} faces/s; {OURS} has {share} of it"
    if 1 in concurrencies:
        got = values(rounds, OURS, _point(1, "p50"))
        bare = values(rounds, BARE, _point(1, "p50"))
        parts = [b + one["one"]["generate_ms"] + one["one"]["encode_ms"] for b, one in zip(bare, limit, strict=True)]
        yield (
            f"- p50 at 1: {Spread.of(got)} ms; bare + one generate + one encode: {Spread.of(parts)} ms; ratio "
            + str(Spread.of([g / p for g, p in zip(got, parts, strict=True)]))
            + f", difference {Spread.of([g - p for g, p in zip(got, parts, strict=True)])} ms"
        )
    exported = [one["export"]["rate"] if "export" in one else math.nan for one in rounds]
    shares = [
        f"{Spread.of([e / rate for e, rate in zip(exported, rates, strict=True)])} of {name}"
        for name, rates in loops.items()
    ]
    yield f"- POST /generate/batch of 256 as zip: {Spread.of(exported)} faces/s, {', '.join(shares)}"
    most = str(max(concurrencies))
    for name in (BARE, OURS):
        cost = [value for value in values(rounds, name, _point(int(most), "generator_us")) if value > 0]
        if cost:
            middle = Spread.of(cost).median
            yield (
                f"- the load generator took {digits(middle)} µs of a core a request against {name}: alone it could ask "
                f"{digits(1e6 / middle)} times a second"
            )
    for name in names:
        wrong: dict[str, int] = {}
        for one in rounds:
            for figures in one["servers"].get(name, {}).get("points", {}).values():
                for kind, times in figures["errors"].items():
                    wrong[kind] = wrong.get(kind, 0) + times
        if wrong:
            yield f"- errors of {name}: {', '.join(f'{times} x {kind}' for kind, times in sorted(wrong.items()))}"

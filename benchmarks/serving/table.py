"""The rounds as one Markdown table, and the limits and ratios that matter as lines below it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from benchmarks.serving.figures import Spread, allowed, digits, over
from benchmarks.serving.measure import EXPORT, LOOPS, Figures

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

    def loops(name: str, faces: int, figure: str = "rate") -> list[float]:
        return [one[name][str(faces)][figure] for one in limit]

    first, *others = sorted(map(int, limit[0][LOOPS[0]]))
    yield f"- generate + encode, no HTTP, faces/s: {Spread.of(loops('the loop', first))} one at a time"
    yield f"  ({Spread.of(loops('the loop', first, 'generate_ms'))} ms to generate,"
    yield f"  {Spread.of(loops('the loop', first, 'encode_ms'))} ms to encode)"
    for faces in others:
        yield f"  {Spread.of(loops('the loop', faces))} in a loop of {faces} at a time on all cores,"
        yield f"  {Spread.of(loops('a loop a core', faces))} in a loop a core that share them"
    for n in concurrencies:
        bare, ours = (values(rounds, name, _point(n, "rate")) for name in (BARE, OURS))
        for name in LOOPS if n >= cores else LOOPS[:1]:
            both = [allowed(route, alone, min(n, cores)) for route, alone in zip(bare, loops(name, n), strict=True)]
            share = Spread.of([got / may for got, may in zip(ours, both, strict=True)])
            yield f"- at {n}: bare route and {name} together allow {Spread.of(both)} faces/s; {OURS} has {share} of it"
    if 1 in concurrencies:
        got = values(rounds, OURS, _point(1, "p50"))
        bare = values(rounds, BARE, _point(1, "p50"))
        parts = [
            sum(each)
            for each in zip(bare, *(loops("the loop", 1, took) for took in ("generate_ms", "encode_ms")), strict=True)
        ]
        yield (
            f"- p50 at 1: {Spread.of(got)} ms; bare + one generate + one encode: {Spread.of(parts)} ms; ratio "
            + str(Spread.of([g / p for g, p in zip(got, parts, strict=True)]))
            + f", difference {Spread.of([g - p for g, p in zip(got, parts, strict=True)])} ms"
        )
    exported = [one["export"]["rate"] if "export" in one else math.nan for one in rounds]
    shares = [
        f"{Spread.of([e / rate for e, rate in zip(exported, loops(name, EXPORT), strict=True)])} of {name}"
        for name in LOOPS
    ]
    yield f"- POST /generate/batch of {EXPORT} as zip: {Spread.of(exported)} faces/s, {', '.join(shares)}"
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

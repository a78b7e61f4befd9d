"""Hours of steady load, to see whether memory grows or anything fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from benchmarks.serving import processes
from benchmarks.serving.figures import digits, slope
from benchmarks.serving.measure import Machine, Seeds, point
from benchmarks.serving.servers import Server, running

_EVERY = 5.0  # seconds from one look at memory to the next
_SEARCH = 15.0  # seconds in which the throughput is measured that the load is a part of
_CONNECTIONS = 64  # then
_MOST = 512  # connections of the open loop: when more requests are unanswered, the next waits in the generator


def soak(machine: Machine, server: Server, minutes: float, load: float) -> dict[str, Any]:
    """Serve ``load`` (0.8: 80 %) of the measured throughput for ``minutes``, at random moments, and watch memory."""
    seeds = Seeds()
    with running(server, machine.cores, machine.device) as service:
        most = point(machine, service, seeds, _CONNECTIONS, min(_SEARCH, 60 * minutes), 2.0)["rate"]
        pids = processes.family(service.process.pid)
        samples: list[tuple[float, float]] = []
        ended = threading.Event()
        begun = time.monotonic()

        def watch() -> None:
            while not ended.wait(_EVERY):
                samples.append((time.monotonic() - begun, processes.resident(pids)))

        samples.append((0.0, processes.resident(pids)))
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            figures = point(machine, service, seeds, _MOST, 60 * minutes, 0.0, load * most)
        finally:
            ended.set()
            watcher.join()
        samples.append((time.monotonic() - begun, processes.resident(pids)))
        return {"throughput": most, "asked": load * most, "minutes": minutes, "figures": figures, "memory": samples}


def told(found: dict[str, Any]) -> str:
    """Return what a soak found, for people."""
    figures, samples = found["figures"], found["memory"]
    late = [sample for sample in samples if sample[0] >= samples[-1][0] / 2]
    errors = ", ".join(f"{times} x {kind}" for kind, times in figures["errors"].items()) or "none"
    at = [samples[0], samples[len(samples) // 2], samples[-1]]
    return "\n".join(
        (
            f"- {digits(found['minutes'])} minutes of {digits(found['asked'])} requests/s at random moments, "
            f"of the {digits(found['throughput'])} that it can do with {_CONNECTIONS} clients",
            f"- {figures['answered']} answered, errors: {errors}",
            f"- from the scheduled moment: p50 {digits(figures['p50'])}, p95 {digits(figures['p95'])}, "
            f"p99 {digits(figures['p99'])}, longest {digits(figures['max'])} ms "
            f"(p99 of what requests waited in the generator: {digits(figures['late_p99'])} ms)",
            f"- memory, MiB: {' -> '.join(f'{value:.1f}' for _, value in at)} (start, middle, end); "
            f"slope {_hourly(samples)} MiB/hour over all, {_hourly(late)} over the second half",
            f"- biggest step from one look to the next: {_step(samples):.1f} MiB",
        )
    )


def _hourly(samples: Sequence[tuple[float, float]]) -> str:
    return f"{3600 * slope([at for at, _ in samples], [value for _, value in samples]):+.1f}"


def _step(samples: Sequence[tuple[float, float]]) -> float:
    return max((after - before for (_, before), (_, after) in pairwise(samples)), default=0.0)

"""The measurements of one round; each runs in processes of its own, on the cores that it is given."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any, Final

from benchmarks.serving import processes
from benchmarks.serving.servers import Failed, Running, post
from benchmarks.serving.wire import EMOTIONS, PNG

Figures = dict[str, Any]

EXPORT: Final = 256  # faces of a POST /generate/batch, as many as it takes
LOOPS: Final = ("the loop", "a loop a core")  # the limits


@dataclass(frozen=True)
class Machine:
    """Which cores are whose, and where the model runs."""

    cores: Sequence[int]  # the servers'
    client: Sequence[int]  # the load generator's
    device: str

    def child(self, module: str, *arguments: object, threads: int = 1, cores: Sequence[int] = ()) -> Child:
        """Start ``python -m benchmarks.serving.MODULE``."""
        command = [sys.executable, "-m", f"benchmarks.serving.{module}", *map(str, arguments)]
        extra = {"OMP_NUM_THREADS": str(threads), "SERVING_DEVICE": self.device}
        with processes.pinned(cores or self.cores):
            return Child(
                subprocess.Popen(
                    command, env=processes.environment(extra), cwd=processes.ROOT, text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
            )  # fmt: skip


@dataclass(frozen=True)
class Child:
    """A process that prints one line of JSON at its end."""

    process: subprocess.Popen[str]

    def warm(self) -> None:
        """Wait until it says that it is warm."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "warm\n":
            self.result()

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        """Return what it prints; RuntimeError where it fails, which it has told on standard error."""
        printed = self.process.communicate()[0]
        if self.process.returncode:
            raise RuntimeError(f"{self.process.args!r} has failed")
        return json.loads(printed)


class Seeds:
    """No seed is used twice in a run, so no point is helped by what another left in a cache."""

    def __init__(self) -> None:
        self._blocks: Iterator[int] = count(1)

    def block(self) -> int:
        """Return the first of ten million that nobody has."""
        return next(self._blocks) * 10_000_000


def point(
    machine: Machine, running: Running, seeds: Seeds, connections: int, seconds: float, warmup: float, rate: float = 0
) -> Figures:
    """Load a server for ``seconds``; see ``load.py`` for what is counted. ``rate`` is that of an open loop."""
    more = ("--rate", rate) if rate else ()
    before = running.cpu_seconds()
    figures: Figures = machine.child(
        "load", "--port", running.port, "--connections", connections, "--seconds", seconds, "--warmup", warmup,
        "--first-seed", seeds.block(), *more, cores=machine.client,
    ).result()  # fmt: skip
    # Of all its processes, and the one figure that a busy neighbour changes little.
    figures["cpu_ms"] = 1000 * (running.cpu_seconds() - before) / max(1, figures["total"])
    return figures


def served(
    machine: Machine, running: Running, seeds: Seeds, concurrencies: Sequence[int], seconds: float, warmup: float
) -> Figures:
    """Return all that the table tells of one server."""
    points = {str(n): point(machine, running, seeds, n, seconds, warmup) for n in concurrencies}
    return {"first_face": running.first_face, "points": points, "memory": asdict(running.memory())}


def export(running: Running, seeds: Seeds, seconds: float) -> Figures:
    """Return faces a second of POST /generate/batch, one after the other, each read to its end.

    Raises:
        Failed: there is no archive, or it lacks faces.
    """
    faces, begun = 0, time.perf_counter()
    while not faces or time.perf_counter() - begun < seconds:
        first = seeds.block()
        wishes = [{"emotion": EMOTIONS[seed % len(EMOTIONS)], "seed": seed} for seed in range(first, first + EXPORT)]
        body = json.dumps({"requests": wishes, "output": "zip"}).encode()
        content = post(running.port, "/generate/batch", body, timeout=120)
        faces += EXPORT
        took = time.perf_counter() - begun
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        whole = sum(archive.read(name).startswith(PNG) for name in archive.namelist())
    if whole != EXPORT:
        raise Failed(f"its archive has {whole} of {EXPORT} faces")
    return {"rate": faces / took}


def limits(machine: Machine, seeds: Seeds, concurrencies: Sequence[int], seconds: float) -> Figures:
    """Return what generating and encoding reach alone, by how many faces are done at a time.

    That is as many as there are clients, for no server has more to do: in one loop on all cores, and where there are
    enough in a loop a core, side by side, which loses nothing in keeping step. Also one, and an archive's.
    """
    found: Figures = {name: {} for name in LOOPS}
    for faces in sorted({1, *concurrencies, EXPORT}):
        (whole,) = _loops(machine, seeds, faces, seconds, [machine.cores])
        apart = [whole]
        if 1 < len(machine.cores) <= faces:
            apart = _loops(machine, seeds, faces // len(machine.cores), seconds, [[core] for core in machine.cores])
        found["the loop"][str(faces)] = whole
        found["a loop a core"][str(faces)] = {"rate": sum(loop["rate"] for loop in apart)}
    return found


def _loops(machine: Machine, seeds: Seeds, batch: int, seconds: float, cores: Sequence[Sequence[int]]) -> list[Figures]:
    """Run a loop on each of ``cores``, all at the same time."""
    children = [
        machine.child(
            "limits", "loop", "--batch", batch, "--seconds", seconds, "--first-seed", seeds.block(),
            threads=len(own), cores=own,
        )
        for own in cores
    ]  # fmt: skip
    for child in children:
        child.warm()
    for child in children:
        child.go()
    return [child.result() for child in children]

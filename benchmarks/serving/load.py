"""The load generator: ``POST /generate`` over kept connections, in one process of its own that does nothing else.

    python -m benchmarks.serving.load --port 8000 --connections 64 --seconds 10             # closed loop
    python -m benchmarks.serving.load --port 8000 --connections 512 --seconds 60 --rate 200 # open loop

Every request has a seed of its own, so that no cache and no joining of equal requests helps anybody.

**Latency is counted from the moment when a request ought to have begun**, until the last byte of its answer has been
read, and never from when it was really sent, so time that it waits for its turn here or in any queue is in it:

- closed loop: ``connections`` clients, each of which asks again at once. A request ought to begin when the answer
  before it on this connection is complete (the first ones: when the run begins).
- open loop (``--rate``): requests come at random (exponential intervals, from a fixed seed) whatever the server does,
  as those of many people would. A request ought to begin at its place in that schedule, even if all ``connections``
  are taken then. A server that stalls for a second meets a second's worth of late requests.

Counted are the requests that ought to begin in the window of ``--seconds`` after ``--warmup``. The load goes on until
the last of these is answered, so the slowest are neither left out nor favoured by a server that is let go. The rate is
that of good answers that were complete in the window. A good answer is 200 with a whole PNG; anything else is an error
and in no latency.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import select
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.serving.figures import percentile
from benchmarks.serving.wire import Connection, face_request

PERCENTS: Final = (50, 95, 99)

_TIMEOUT: Final = 60.0  # seconds from when a request ought to have begun until it is given up
_PAUSE: Final = 0.01  # seconds after a connection that was refused, or a dead server would be asked a million times


@dataclass
class Load:
    """What a run saw. Times are seconds."""

    window: float
    good: int = 0  # answers that were complete in the window
    total: int = 0  # good answers, before and after it too
    latencies: array[float] = field(default_factory=lambda: array("d"))  # of requests that ought to begin in the window
    late: array[float] = field(default_factory=lambda: array("d"))  # how long after that they were sent
    errors: Counter[str] = field(default_factory=Counter)
    cpu: float = 0.0  # processor seconds that this generator took in the window

    def figures(self) -> dict[str, Any]:
        """Return what is told of it, times in milliseconds."""
        ordered, late = sorted(self.latencies), sorted(self.late)
        return {
            "rate": self.good / self.window,
            **{f"p{percent}": 1000 * percentile(ordered, percent) for percent in PERCENTS},
            "max": 1000 * (ordered[-1] if ordered else float("nan")),
            "answered": len(ordered),
            "total": self.total,
            "errors": dict(self.errors),
            "late_p99": 1000 * percentile(late, 99),
            # What a request costs this process: its own ceiling is one over that.
            "generator_us": 1e6 * self.cpu / self.good if self.good else float("nan"),
        }


def schedule(rate: float, seed: int = 0) -> Iterator[float]:
    """Give the seconds after the beginning at which requests come, ``rate`` a second on average, for ever."""
    rng, at = random.Random(seed), 0.0
    while True:
        at += rng.expovariate(rate)
        yield at


class Generator:
    """One run; see the head of this file."""

    def __init__(
        self,
        port: int,
        connections: int,
        arrivals: Iterator[float] | None = None,
        request: Callable[[int], bytes] = face_request,
        first_seed: int = 0,
    ) -> None:
        self._address = ("127.0.0.1", port)
        self._connections = connections
        self._arrivals = arrivals
        self._request = request
        self._seed = first_seed
        self._epoll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._waiting: deque[float] = deque()  # moments at which requests ought to have begun that have no connection
        self._wanted = 0  # requests of the window without an answer

    def run(self, warmup: float, seconds: float) -> Load:
        """Make load, and return what was seen in ``seconds`` after ``warmup``."""
        load = Load(seconds)
        collected = gc.isenabled()
        gc.disable()  # its pauses would be measured as the server's
        try:
            self._loop(load, warmup, seconds)
        finally:
            if collected:
                gc.enable()
            for connection in self._open.values():
                connection.sock.close()
            self._epoll.close()
        return load

    def _loop(self, load: Load, warmup: float, seconds: float) -> None:
        clock = time.perf_counter
        zero = clock()
        self._from, self._until = zero + warmup, zero + warmup + seconds
        following = float("inf")
        if self._arrivals is None:
            for _ in range(self._connections):
                self._wait(zero)
        else:
            following = zero + next(self._arrivals)
        cpu = [time.process_time(), 0.0]
        stage = 0  # 0 warming up, 1 in the window, 2 waiting for its last answers
        swept = zero
        while True:
            now = clock()
            if stage == 0 and now >= self._from:
                cpu[0], stage = time.process_time(), 1
            if stage == 1 and now >= self._until:
                cpu[1], stage = time.process_time(), 2
            while following <= now:
                assert self._arrivals is not None
                self._wait(following)
                following = zero + next(self._arrivals)
            if stage == 2 and not self._wanted:
                break
            if now - swept > 1:
                self._give_up(now, load)
                swept = now
            self._send(load)
            # epoll's own timeout knows whole milliseconds only.
            wake = min(following, swept + 1.01, (self._from, self._until, now + 1)[stage])
            if self._waiting and len(self._open) < self._connections:  # was refused, and tries again
                wake = now
            if not select.select([self._epoll], [], [], max(0.0, wake - clock()))[0]:
                continue
            for fd, _ in self._epoll.poll(0):
                self._read(self._open[fd], load)
        load.cpu = cpu[1] - cpu[0]

    def _wait(self, begun: float) -> None:
        self._waiting.append(begun)
        self._wanted += self._from <= begun < self._until

    def _send(self, load: Load) -> None:
        while self._waiting:
            if not self._idle and not self._connect(load):
                return
            # The connection that was used last: the others age, and the server closes those that it tires of.
            connection = self._idle.pop()
            begun = self._waiting.popleft()
            connection.begun, connection.inside = begun, self._from <= begun < self._until
            connection.end = 0
            connection.buffer.clear()
            if connection.inside:
                load.late.append(time.perf_counter() - begun)
            try:
                connection.sock.send(self._request(self._seed))
            except OSError:
                self._failed(connection, "closed", load)
            self._seed += 1

    def _connect(self, load: Load) -> bool:
        if len(self._open) >= self._connections:
            return False
        try:
            connection = Connection(self._address, _TIMEOUT)
        except OSError:
            begun = self._waiting.popleft()
            if self._from <= begun < self._until:
                self._wanted -= 1
                load.errors["refused"] += 1
            time.sleep(_PAUSE)
            if self._arrivals is None and time.perf_counter() < self._until:
                self._wait(time.perf_counter())
            return False
        self._open[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock, select.EPOLLIN)
        self._idle.append(connection)
        return True

    def _read(self, connection: Connection, load: Load) -> None:
        wrong = connection.read()
        if wrong is None:
            return
        if connection.begun is None:  # closed while it had no request: no one has lost anything
            self._idle.remove(connection)
            self._close(connection)
            return
        if wrong:
            self._failed(connection, wrong, load)
            return
        now = time.perf_counter()
        load.total += 1
        load.good += self._from <= now < self._until
        if connection.inside:
            self._wanted -= 1
            load.latencies.append(now - connection.begun)
        self._free(connection, now)

    def _failed(self, connection: Connection, wrong: str, load: Load) -> None:
        if connection.inside:
            self._wanted -= 1
            load.errors[wrong] += 1
        whole = wrong.isdigit()  # an answer with another status leaves a connection that can go on
        if not whole:
            self._close(connection)
        self._free(connection if whole else None, time.perf_counter())

    def _free(self, connection: Connection | None, now: float) -> None:
        if connection is not None:
            connection.begun = None
            self._idle.append(connection)
        if self._arrivals is None:
            self._wait(now)

    def _give_up(self, now: float, load: Load) -> None:
        for connection in [*self._open.values()]:
            if connection.begun is not None and now - connection.begun > _TIMEOUT:
                self._failed(connection, "no answer", load)

    def _close(self, connection: Connection) -> None:
        self._epoll.unregister(connection.sock)
        del self._open[connection.sock.fileno()]
        connection.sock.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--rate", type=float, help="requests a second, for an open loop")
    args = parser.parse_args()
    arrivals = schedule(args.rate) if args.rate else None
    generator = Generator(args.port, args.connections, arrivals, first_seed=args.first_seed)
    print(json.dumps(generator.run(args.warmup, args.seconds).figures()))


if __name__ == "__main__":
    main()

"""The comparison of servers counts what it says: latencies from when a request ought to have begun, limits, memory."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise, takewhile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving import processes
from benchmarks.serving.__main__ import cores
from benchmarks.serving.figures import Spread, allowed, digits, over, percentile, slope
from benchmarks.serving.load import Generator, Load, schedule
from benchmarks.serving.measure import Machine
from benchmarks.serving.servers import Failed, Running, Server, check, running, servers
from benchmarks.serving.soak import told
from benchmarks.serving.table import lines, table
from benchmarks.serving.wire import EMOTIONS
from model.emotions import FERPLUS
from model.encode import encode_face

PNG = encode_face(np.zeros((4, 4, 1), np.uint8))
Answer = Callable[[dict[str, object]], tuple[int, bytes]]


def own_cores() -> list[int]:
    """Return the cores of this process."""
    return sorted(os.sched_getaffinity(0))


@contextmanager
def served(answer: Answer) -> Iterator[int]:
    """Serve ``answer`` (a body to status and content) in threads, and give the port. None as content hangs up."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, content = answer(body)
            if not status:  # hangs up
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for them
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:  # a client that has left
            pass

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# ---- figures ----


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (100, 100), (0, 1), (99.1, 100)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, value: float) -> None:
    assert percentile(range(1, 101), percent) == value


def test_percentiles_of_few() -> None:
    assert [percentile([7.0], p) for p in (1, 50, 99)] == [7, 7, 7]
    assert [percentile([1.0, 2.0], p) for p in (50, 51)] == [1, 2]
    assert math.isnan(percentile([], 50))


def test_two_limits_add_up_on_one_core() -> None:
    assert allowed(bare=100, loop=100, cores=1) == pytest.approx(50)
    assert allowed(bare=4000, loop=300, cores=1) == pytest.approx(1 / (1 / 4000 + 1 / 300))


def test_on_more_cores_http_is_spread_and_the_loop_is_not_beaten() -> None:
    # 1 ms of HTTP and 2 cores x 10 ms of drawing are 21 core-milliseconds a face.
    assert allowed(bare=1000, loop=100, cores=2) == pytest.approx(2 / 0.021)
    assert allowed(bare=1e12, loop=100, cores=2) == pytest.approx(100)
    assert math.isnan(allowed(math.nan, 100, 2))


def test_a_spread_leaves_out_what_was_not_measured() -> None:
    assert Spread.of([3, math.nan, 1, 2]) == Spread(2, 1, 3)
    assert str(Spread.of([math.nan])) == "-"
    assert str(Spread.of([1234.5, 0.01234, 12])) == "12.0 (0.0123–1,234)"  # rounded half to even
    assert (digits(0), digits(-2.5), digits(math.inf)) == ("0", "-2.50", "-")


def test_a_slope_is_that_of_the_line() -> None:
    assert slope([0, 1, 2, 3], [5, 7, 9, 11]) == pytest.approx(2)
    assert math.isnan(slope([1, 1], [1, 2]))


def test_we_are_compared_with_the_best_peer_of_each_round() -> None:
    peers = [[10.0, 30.0, math.nan], [20.0, 15.0, math.nan]]
    assert over([20, 60, 1], peers, most=True) == [1, 2]
    assert over([20, 60, 1], peers, most=False) == [2, 4]
    assert over([20], [], most=True) == []


def test_cores_are_read_as_taskset_writes_them() -> None:
    assert cores("0-2,5") == [0, 1, 2, 5]


# ---- the load generator ----


def test_a_schedule_has_its_rate_and_is_the_same_every_time() -> None:
    times = list(takewhile(lambda at: at < 100, schedule(50)))
    assert times == list(takewhile(lambda at: at < 100, schedule(50)))
    assert len(times) == pytest.approx(5000, rel=0.05)
    gaps = [after - before for before, after in pairwise(times)]
    assert min(gaps) > 0
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.1)  # exponential: as wide as long


def test_a_closed_loop_asks_for_every_face_once() -> None:
    bodies: list[dict[str, object]] = []

    def answer(body: dict[str, object]) -> tuple[int, bytes]:
        bodies.append(body)
        time.sleep(0.02)
        return 200, PNG

    with served(answer) as port:
        load = Generator(port, 4, first_seed=100).run(0.1, 0.5)
    seeds = [body["seed"] for body in bodies]
    assert sorted(seeds, key=str) == sorted(set(seeds), key=str)
    assert min(map(int, map(str, seeds))) == 100
    assert {body["emotion"] for body in bodies} <= set(EMOTIONS)
    assert not load.errors
    # Four clients that each wait 20 ms and more get at most 200 a second; a busy machine gives fewer.
    assert 0 < load.good <= 0.5 * 200 + 4
    assert min(load.latencies) >= 0.02
    assert load.total >= load.good
    assert len(load.latencies) == pytest.approx(load.good, abs=4)
    assert load.figures()["generator_us"] > 0


def test_a_server_that_stalls_is_late_for_all_who_would_have_come() -> None:
    begun = time.monotonic()
    stall = (begun + 0.5, begun + 1.1)

    def answer(_: dict[str, object]) -> tuple[int, bytes]:
        if stall[0] <= time.monotonic() < stall[1]:
            time.sleep(stall[1] - time.monotonic())
        return 200, PNG

    with served(answer) as port:
        load = Generator(port, 200, schedule(100)).run(0.0, 2.0)
    late = [latency for latency in load.latencies if latency > 0.1]
    assert not load.errors
    # A hundred a second for 0.6 s came while it stalled, and five in six of them waited for more than 0.1 s: about 50.
    assert len(late) > 30
    assert percentile(sorted(load.latencies), 99) > 0.4


def test_what_waits_for_a_connection_is_late_too() -> None:
    # One connection, 100 requests a second, 20 ms each: half of them cannot be sent when they ought to.
    def answer(_: dict[str, object]) -> tuple[int, bytes]:
        time.sleep(0.02)
        return 200, PNG

    with served(answer) as port:
        load = Generator(port, 1, schedule(100)).run(0.0, 1.0)
    wanted = sum(1 for _ in takewhile(lambda at: at < 1.0, schedule(100)))
    assert len(load.latencies) == wanted  # none is left out, however long it took
    assert load.good <= 50
    assert percentile(sorted(load.latencies), 95) > 0.5
    assert percentile(sorted(load.late), 95) > 0.5


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ((503, b"busy"), "503"),
        ((200, b"no picture"), "no whole PNG"),
        ((200, PNG[:-1]), "no whole PNG"),
        ((0, b""), "closed"),
    ],
)
def test_an_answer_that_is_no_face_is_an_error_and_has_no_latency(wrong: tuple[int, bytes], named: str) -> None:
    turns = count()

    def answer(_: dict[str, object]) -> tuple[int, bytes]:
        time.sleep(0.005)
        return wrong if next(turns) % 2 else (200, PNG)

    with served(answer) as port:
        load = Generator(port, 2).run(0.0, 0.3)
    assert set(load.errors) == {named}
    assert load.errors[named] == pytest.approx(len(load.latencies), abs=4)


def test_a_server_that_is_not_there_is_an_error_and_no_endless_loop() -> None:
    with served(lambda _: (200, PNG)) as port:
        pass
    load = Generator(port, 2).run(0.0, 0.2)
    assert set(load.errors) == {"refused"}
    assert 0 < load.errors["refused"] < 100
    assert math.isnan(load.figures()["p99"])


def test_the_generator_runs_in_a_process_of_its_own() -> None:
    with served(lambda _: (200, PNG)) as port:
        machine = Machine(own_cores(), own_cores(), "cpu")
        figures = machine.child(
            "load", "--port", port, "--connections", 2, "--seconds", 0.2, "--warmup", 0, "--rate", 50
        ).result()  # fmt: skip
    assert figures["errors"] == {}
    assert figures["answered"] > 0
    assert figures["p50"] <= figures["p95"] <= figures["p99"] <= figures["max"]


# ---- processes ----

_HOLDS = """
import subprocess, sys
held = b"x" * (64 << 20)
child = subprocess.Popen([sys.executable, "-c", "held = b'y' * (32 << 20); print('held', flush=True); input()"],
                         stdin=subprocess.PIPE)
child.wait()
"""


def test_memory_is_that_of_the_whole_family(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+b") as log:
        process = processes.start([sys.executable, "-c", _HOLDS], own_cores(), {}, log)
        try:
            until = time.monotonic() + 20
            while "held" not in (tmp_path / "log").read_text():
                assert time.monotonic() < until
                time.sleep(0.01)
            pids = processes.family(process.pid)
            memory = processes.memory(pids)
            assert len(pids) == 2
            assert 96 < memory.resident < 200
            assert memory.resident <= memory.peak < 220
            assert 90 < memory.proportional <= memory.resident
            assert processes.resident(pids) == pytest.approx(memory.resident, rel=0.05)
            assert processes.cpu_seconds(pids) > 0
        finally:
            processes.end(process, 5)
    assert processes.memory(pids) == processes.Memory(0, 0, 0)
    assert process.returncode == -15


def test_what_does_not_end_is_ended(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    with (tmp_path / "log").open("w+b") as log:
        process = processes.start([sys.executable, "-c", deaf], own_cores(), {}, log)
        until = time.monotonic() + 20
        while "deaf" not in (tmp_path / "log").read_text():
            assert time.monotonic() < until
            time.sleep(0.01)
        processes.end(process, 0.2)
    assert process.returncode == -9


# ---- servers ----

_TINY = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
picture = open(sys.argv[2], "rb").read()
class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(picture)))
        self.end_headers()
        self.wfile.write(picture)
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_is_started_timed_checked_and_ended(tmp_path: Path) -> None:
    picture = tmp_path / "face.png"
    picture.write_bytes(PNG)
    server = Server("tiny", lambda port: [sys.executable, "-c", _TINY, str(port), str(picture)], 1)
    with running(server, own_cores(), "cpu") as service:
        assert isinstance(service, Running)
        assert 0 < service.first_face < 60
        assert service.memory().peak > 5
        right = hashlib.sha256(PNG).hexdigest()
        check(service.port, [right, right], 0, at_once=1)
        with pytest.raises(Failed, match="1 of 2 faces have other bytes, the first of them seed 6"):
            check(service.port, [right, "0" * 64], 5, at_once=1)
    assert service.process.returncode == -15


def test_a_server_that_cannot_start_says_why_in_a_sentence() -> None:
    server = Server("gone", lambda _: [sys.executable, "-c", "import no_such_peer"], 1)
    with (
        pytest.raises(
            Failed, match=r"it does not start \(code 1\): ModuleNotFoundError: No module named 'no_such_peer'"
        ),
        running(server, own_cores(), "cpu"),
    ):
        pass
    with (
        pytest.raises(Failed, match="/no/python cannot be run"),
        running(Server("gone", lambda _: ["/no/python"], 1), own_cores(), "cpu"),
    ):
        pass


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        (1, ["emoface", "LitServe", "BentoML", "bare route"]),
        (4, ["emoface", "LitServe", "BentoML", "LitServe x4", "BentoML x4", "bare route"]),
    ],
)
def test_every_server_gets_as_many_torch_threads(machine: int, names: list[str]) -> None:
    found = servers(machine, Path("peer"), "cpu", 4, Path("face.png"), 0.002)
    assert [server.name for server in found] == names
    for server in found:
        workers = int(server.environment.get("SERVING_WORKERS", "1"))
        assert server.threads * workers == machine
        assert "8123" in server.command(8123)


def test_the_emotions_are_known_to_our_weights() -> None:
    assert set(EMOTIONS) <= set(FERPLUS)


# ---- what is printed ----


def a_round(scale: float) -> dict[str, object]:
    """Return a round in which ours does twice what peers do; ``scale`` is how fast the machine was."""

    def one(rate: float) -> dict[str, object]:
        point = {"rate": rate * scale, "cpu_ms": 2.0, "generator_us": 25.0, "errors": {}}
        point |= {"p50": 10 / scale, "p95": 20 / scale, "p99": 30 / scale}
        return {
            "points": {"1": point, "4": dict(point)},
            "memory": {"peak": 700.0, "proportional": 500.0},
            "first_face": 3.0,
        }

    return {
        "servers": {"emoface": one(200), "LitServe": one(100), "BentoML": one(50), "bare route": one(4000)},
        "export": {"rate": 240 * scale},
        "limits": {
            "the loop": {
                "1": {"rate": 100 * scale, "generate_ms": 5 / scale, "encode_ms": 0.5 / scale},
                "4": {"rate": 250 * scale},
                "256": {"rate": 300 * scale},
            },
            "a loop a core": {number: {"rate": 400 * scale} for number in ("1", "4", "256")},
        },
    }


def test_the_table_has_medians_and_ratios_of_rounds() -> None:
    rounds = [a_round(1.0), a_round(0.5), a_round(2.0)]
    names = ["emoface", "LitServe", "BentoML", "bare route"]
    printed = table(rounds, names, [1])
    assert (
        "| requests/s at 1 | 200 (100–400) | 100 (50.0–200) | 50.0 (25.0–100) | 4,000 (2,000–8,000) | 2.00 |" in printed
    )
    widths = {row.count("|") for row in printed.splitlines()}
    assert widths == {len(names) + 3}
    told_lines = "\n".join(lines(rounds, names, [1, 4], cores=2))
    assert "faces/s: 100 (50.0–200) one at a time\n  (5.00 (2.50–10.0) ms to generate," in told_lines
    assert "250 (125–500) in a loop of 4 at a time on all cores" in told_lines
    # A lone client waits for one core after the other: 1 / (1 / 4000 + 1 / 100).
    assert "at 1: bare route and the loop together allow 97.6 (48.8–195) faces/s; emoface has 2.05 of it" in told_lines
    assert "at 4: bare route and the loop together allow 242 (121–485) faces/s; emoface has 0.825 of it" in told_lines
    assert "at 4: bare route and a loop a core together allow 381 (190–762) faces/s" in told_lines
    assert "bare + one generate + one encode: 15.5 (7.75–31.0) ms; ratio 0.645" in told_lines
    assert "0.800 of the loop, 0.600 of a loop a core" in told_lines
    assert "alone it could ask 40,000 times a second" in told_lines


def test_a_peer_that_is_left_out_takes_nothing_with_it() -> None:
    both, alone = a_round(1.0), a_round(1.0)
    servers_of = alone["servers"]
    assert isinstance(servers_of, dict)
    del servers_of["LitServe"]
    printed = table([both, alone], ["emoface", "BentoML"], [1])
    assert "| requests/s at 1 | 200 | 50.0 | 4.00 |" in printed
    only = "\n".join(lines([alone], ["emoface"], [1], cores=2))
    assert "errors" not in only


def test_errors_are_told() -> None:
    one = a_round(1.0)
    servers_of = one["servers"]
    assert isinstance(servers_of, dict)
    servers_of["BentoML"]["points"]["1"]["errors"] = {"503": 3}
    assert "- errors of BentoML: 3 x 503" in "\n".join(lines([one], ["emoface", "BentoML"], [1], cores=1))


def test_a_soak_tells_how_memory_went() -> None:
    load = Load(60.0, good=100)
    load.latencies.extend([0.01] * 99 + [0.2])
    load.late.append(0.0)
    memory = [(60.0 * minute, 500.0 + (50 if minute else 0) + minute / 60) for minute in range(61)]
    printed = told({"throughput": 300.0, "asked": 240.0, "minutes": 60.0, "figures": load.figures(), "memory": memory})
    assert "100 answered, errors: none" in printed
    assert "p50 10.0, p95 10.0, p99 10.0, longest 200 ms" in printed
    assert "500.0 -> 550.5 -> 551.0 (start, middle, end)" in printed
    assert "+1.0 over the second half" in printed
    assert "biggest step from one look to the next: 50.0 MiB" in printed


def test_help_needs_no_torch() -> None:
    code = "import sys\nfrom benchmarks.serving.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    command = [sys.executable, "-c", code + "assert 'torch' not in sys.modules"]
    done = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--soak MINUTES" in done.stdout

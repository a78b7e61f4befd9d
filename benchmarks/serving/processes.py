"""Start a server and its whole family of processes, look at them in ``/proc``, end them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parents[2]
MIB: Final = 1024  # KiB, the unit of /proc
_PROC: Final = Path("/proc")
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Memory:
    """MiB of several processes, each figure summed over them."""

    peak: float  # VmHWM: the most that each ever held; what they share counts for each of them
    resident: float  # VmRSS: now
    proportional: float  # Pss: now, where what n processes share counts 1/n for each


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:  # it has ended
        return None
    # The name stands in brackets and may hold brackets and spaces itself.
    return text.rpartition(")")[2].split()


def family(root: int) -> set[int]:
    """Return a process with its descendants, and with all that are in its session, for parents may have ended."""
    stats = {int(entry.name): _stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdecimal()}
    parents = {pid: int(stat[1]) for pid, stat in stats.items() if stat is not None}
    session = {pid for pid, stat in stats.items() if stat is not None and int(stat[3]) == root}
    found = {pid for pid in ({root} | session) if pid in parents}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory(pids: Collection[int]) -> Memory:
    """Return what processes hold; one that has ended holds nothing."""
    peak = resident = proportional = 0.0
    for pid in pids:
        status = _fields(pid, "status")
        peak += status.get("VmHWM", 0)
        resident += status.get("VmRSS", 0)
        proportional += _fields(pid, "smaps_rollup").get("Pss", 0)
    return Memory(peak / MIB, resident / MIB, proportional / MIB)


def resident(pids: Collection[int]) -> float:
    """Return MiB in memory now. Cheaper than :func:`memory`, for which the kernel walks all pages."""
    return sum(_fields(pid, "status").get("VmRSS", 0) for pid in pids) / MIB


def _fields(pid: int, name: str) -> dict[str, int]:
    """Read a file of lines such as ``VmHWM:  1024 kB``."""
    try:
        lines = (_PROC / str(pid) / name).read_text().splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[key] = int(value.split()[0])
    return found


def cpu_seconds(pids: Collection[int]) -> float:
    """Return processor seconds that processes have taken since they began."""
    stats = [stat for pid in pids if (stat := _stat(pid)) is not None]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / _TICK


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """Run the block on ``cores``: processes that are started in it stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment as a user has it, with ``extra``: no settings of ours, byte code is kept."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("EMOFACE_") and k not in left_out}
    return {**kept, "PYTHONPATH": str(ROOT), **extra}


def start(
    command: Sequence[str], cores: Collection[int], extra: Mapping[str, str], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, on ``cores``."""
    with pinned(cores):
        return subprocess.Popen(
            command, env=environment(extra), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def end(process: subprocess.Popen[bytes], seconds: float = 15) -> None:
    """End a server with all its processes: politely, and after ``seconds`` for good."""
    pids = family(process.pid)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _running(pids):
        process.poll()  # a child that nobody waits for stays in the table
        time.sleep(0.05)
    # Those that are left, and what they have started since.
    for pid in _running(pids | family(process.pid)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def _running(pids: Collection[int]) -> set[int]:
    return {pid for pid in pids if (stat := _stat(pid)) is not None and stat[0] != "Z"}

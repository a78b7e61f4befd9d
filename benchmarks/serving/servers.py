"""The servers that are compared, and one that is running."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.serving import processes
from benchmarks.serving.wire import PNG, face_request

_START: Final = 180.0  # seconds that a server gets until its first face


class Failed(Exception):
    """A server that does not start, or answers wrongly; one sentence."""


@dataclass(frozen=True)
class Server:
    """How a server is started."""

    name: str
    command: Callable[[int], list[str]]  # of its port
    threads: int  # of torch, in each of its workers
    environment: Mapping[str, str] = field(default_factory=dict)


def servers(
    cores: int, peer_python: Path, device: str, batch: int, picture: Path, litserve_timeout: float
) -> list[Server]:
    """Return our service, its peers and the bare route, each to use ``cores`` cores.

    Each peer is tried with one worker whose torch has all cores, as our service does it, and, where there are several
    cores, with a worker a core whose torch has one thread: what is better depends on the machine and on the load, and
    we compare with the better. ``batch`` is the sampler's; ``picture`` is what the bare route answers with;
    ``litserve_timeout`` is how many seconds a batch of LitServe's waits to be full.
    """
    python, at = sys.executable, "127.0.0.1"
    found = [
        Server(
            "emoface",
            lambda port: [python, "-m", "emoface", "serve", "--host", at, "--port", str(port), "--device", device],
            cores,
            {"EMOFACE_PRECISION": os.environ.get("SERVING_PRECISION", "float32")},
        )
    ]
    for workers in (1, cores) if cores > 1 else (1,):
        settings = {
            "SERVING_BATCH": str(batch),
            "SERVING_BATCH_TIMEOUT": str(litserve_timeout),
            "SERVING_WORKERS": str(workers),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        many = f" x{workers}" if workers > 1 else ""
        found.append(
            Server(
                f"LitServe{many}",
                lambda port, n=workers: [  # type: ignore[misc]
                    str(peer_python), "-m", "benchmarks.serving.peer_litserve", str(port), str(n),
                ],
                cores // workers,
                settings,
            )
        )  # fmt: skip
        found.append(
            Server(
                f"BentoML{many}",
                lambda port: [
                    str(peer_python), "-m", "bentoml", "serve", "benchmarks.serving.peer_bentoml:FaceService",
                    "--host", at, "--port", str(port),
                ],
                cores // workers,
                settings,
            )
        )  # fmt: skip
    bare = [python, "-m", "benchmarks.serving.bare"]
    return [*found, Server("bare route", lambda port: [*bare, str(port), str(picture)], cores)]


def versions(peer_python: Path) -> str:
    """Return what peers an environment has; empty where it has none, or is none."""
    code = "from importlib.metadata import version as v; print('LitServe', v('litserve') + ', BentoML', v('bentoml'))"
    try:
        done = subprocess.run([str(peer_python), "-c", code], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@dataclass
class Running:
    """A server that answers."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    first_face: float  # seconds from the start of its process until a first face had been read

    def memory(self) -> processes.Memory:
        """Return what its processes hold."""
        return processes.memory(processes.family(self.process.pid))

    def cpu_seconds(self) -> float:
        """Return processor seconds that its processes have taken."""
        return processes.cpu_seconds(processes.family(self.process.pid))


def post(port: int, path: str, body: bytes, timeout: float) -> bytes:
    """Return what is answered to JSON; raises Failed where that is no 200, OSError where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    except http.client.HTTPException as error:
        raise Failed(f"it broke off its answer to {path} ({type(error).__name__})") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise Failed(f"it answers {path} with {answer.status} {content[:200]!r}")
    return content


def fetch(port: int, seed: int, timeout: float = 60) -> bytes:
    """Return one face; raises Failed for an answer that is none, OSError where nobody answers."""
    content = post(port, "/generate", face_request(seed).partition(b"\r\n\r\n")[2], timeout)
    if not content.startswith(PNG):
        raise Failed(f"it answers with no PNG: {content[:200]!r}")
    return content


def check(port: int, reference: Sequence[str], first_seed: int, at_once: int = 8) -> None:
    """Ask for as many faces as ``reference`` has, several at once, and compare the very bytes.

    Raises:
        Failed: one is another.
    """
    seeds = range(first_seed, first_seed + len(reference))
    with ThreadPoolExecutor(at_once) as pool:
        got = [hashlib.sha256(png).hexdigest() for png in pool.map(lambda seed: fetch(port, seed), seeds)]
    wrong = [seed for seed, ours, theirs in zip(seeds, got, reference, strict=True) if ours != theirs]
    if wrong:
        raise Failed(f"{len(wrong)} of {len(reference)} faces have other bytes, the first of them seed {wrong[0]}")


@contextmanager
def running(server: Server, cores: Sequence[int], device: str) -> Iterator[Running]:
    """Start a server, wait for its first face, and end it after the block.

    Raises:
        Failed: it gives none.
    """
    port = _free_port()
    extra = {"OMP_NUM_THREADS": str(server.threads), "SERVING_DEVICE": device, **server.environment}
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        try:
            process = processes.start(server.command(port), cores, extra, log)
        except OSError as error:
            raise Failed(f"{error.filename} cannot be run ({error.strerror})") from error
        try:
            wrong = ""
            while True:
                try:
                    fetch(port, 0, _START)
                    break
                except ConnectionError:
                    time.sleep(0.01)
                except (Failed, OSError) as error:  # not ready yet, perhaps
                    wrong = str(error)
                    time.sleep(0.05)
                if process.poll() is not None or time.perf_counter() - begun > _START:
                    log.seek(0)
                    last = log.read().decode(errors="replace").strip().rpartition("\n")[2]
                    how = f"no face in {_START:.0f} s" if process.returncode is None else f"code {process.returncode}"
                    raise Failed(f"it does not start ({how}): {wrong or last or 'it says nothing'}")
            yield Running(server, process, port, time.perf_counter() - begun)
        finally:
            with suppress(ProcessLookupError):
                processes.end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

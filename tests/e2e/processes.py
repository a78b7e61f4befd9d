"""Start the service as a user does: a process of its own, on a loopback port. And talk to it byte by byte."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]


def command(*arguments: str, program: Sequence[str] = ("-m", "emoface")) -> list[str]:
    """Return the command line of ``emoface ARGUMENTS``, or of a ``program`` for Python that takes the same."""
    return [sys.executable, *program, *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of the service, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMOFACE_")}
    return {**kept, **(extra or {})}


def refused(*arguments: str, extra: Mapping[str, str] | None = None) -> str:
    """Run ``emoface ARGUMENTS``, which must refuse to start, and return its one sentence."""
    done = subprocess.run(
        command(*arguments), env=environment(extra), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    url: str
    printed: str
    stderr: Path

    def log(self) -> list[str]:
        """Return the lines that it has written to standard error so far."""
        return self.stderr.read_text(encoding="utf-8").splitlines()


@contextmanager
def service(
    weights: Path,
    extra: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "emoface"),
    host: str = "127.0.0.1",
) -> Iterator[Service]:
    """Serve ``weights`` on a free port until the end of the block, unless the test stops it before; ``extra`` are
    settings, as environment variables, and ``program`` is as in :func:`command`."""
    arguments = ("serve", "--host", host, "--port", "0", "--weights", str(weights), "--device", "cpu")
    with ExitStack() as stack:
        # A file, and no pipe: one that nobody reads fills up, and then the service waits.
        stderr = stack.enter_context(NamedTemporaryFile(suffix=".log"))
        process = subprocess.Popen(
            command(*arguments, program=program),
            env=environment(extra),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        stack.callback(_end, process)
        assert process.stdout is not None
        printed = ""
        while "curl" not in printed:
            line = process.stdout.readline()
            assert line, f"the service did not start: {Path(stderr.name).read_text(encoding='utf-8')}"
            printed += line
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found, printed
        yield Service(process, found[0], printed, Path(stderr.name))


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.terminate()
    try:
        process.wait(60)
    finally:
        process.kill()  # one that does not end must not stay behind; nothing happens to one that has ended
        process.wait()
        process.stdout.close()


class Lost(Exception):
    """The connection ended before a whole answer had come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes


class Wire:
    """One connection, and what is sent on it by hand: half a request, or two at once.

    Args:
        url: the service's.
        buffer: bytes that the kernel takes of an answer that nobody reads, about; None: as it likes.
    """

    def __init__(self, url: str, buffer: int | None = None) -> None:
        where = urlsplit(url)
        assert where.hostname
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(60)
        try:
            self.socket.connect((where.hostname, where.port))
        except BaseException:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Send bytes. Raises :class:`Lost`."""
        try:
            self.socket.sendall(b"".join(parts))
        except OSError as error:
            raise Lost from error

    def answer(self) -> Answer:
        """Wait for a whole answer, which must have a Content-Length. Raises :class:`Lost`."""
        try:
            start = self._file.readline()
            headers = {}
            while (line := self._file.readline()).strip():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            length = int(headers.get("content-length", 0))
            body = self._file.read(length)
        except OSError as error:
            raise Lost from error
        if not line or len(body) < length:
            raise Lost
        return Answer(int(start.split()[1]), headers, body)

    def rest(self) -> bytes:
        """Wait for the end of the connection; return what still came."""
        try:
            return self._file.read()
        except ConnectionError:
            return b""

    @property
    def open(self) -> bool:
        """Whether nothing has come, not even the end."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except ConnectionError:
            return False
        finally:
            self.socket.settimeout(60)
        return False

    @property
    def dropped(self) -> bool:
        """Whether the other end has reset the connection, though something of it is still unread here (Linux)."""
        # tcp(7): the first byte of tcp_info is the state, in which 7 is closed.
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 7

    def close(self) -> None:
        """End it."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def head(path: str, length: int = 0, method: str = "") -> bytes:
    """Return the head of a request: a GET, or a POST of ``length`` bytes of JSON."""
    lines = [f"{method or ('POST' if length else 'GET')} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if length:
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, **fields: Any) -> tuple[bytes, bytes]:
    """Return the head and the body of a POST."""
    body = json.dumps(fields).encode()
    return head(path, len(body)), body

"""Start the service as a user does: a process of its own, on a loopback port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    """Return the command line of ``emoface ARGUMENTS``."""
    return [sys.executable, "-m", "emoface", *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of the service, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMOFACE_")}
    return {**kept, **(extra or {})}


def refused(*arguments: str, extra: Mapping[str, str] | None = None) -> str:
    """Run ``emoface ARGUMENTS``, which must refuse to start, and return its one sentence."""
    done = subprocess.run(
        command(*arguments), env=environment(extra), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode not in (0, -15), done.stdout + done.stderr
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


@contextmanager
def service(weights: Path, extra: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Serve ``weights`` on a free port until the end of the block, unless the test stops it before; ``extra`` are
    settings, as environment variables."""
    process = subprocess.Popen(
        command("serve", "--host", "127.0.0.1", "--port", "0", "--weights", str(weights), "--device", "cpu"),
        env=environment(extra),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        printed = ""
        while "curl" not in printed:
            line = process.stdout.readline()
            assert line, f"the service did not start: {process.stderr.read()}"
            printed += line
        found = re.search(r"http://127\.0\.0\.1:\d+", printed)
        assert found, printed
        yield Service(process, found[0], printed)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
        process.stderr.close()

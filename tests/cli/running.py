"""Ways to run the command line."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner, Result

from emoface.cli import app


def emoface(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Run it as a user does: in a process of its own."""
    command = [sys.executable, "-m", "emoface", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)  # type: ignore[call-overload]


def in_process(*arguments: object, stdin: bytes | None = None) -> Result:
    """The same without a new interpreter, for the many cases that only differ in what they are told."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def one_sentence(done: Result, says: str) -> None:
    """Hold that a command could not do what it was asked, and says why: in one sentence that has ``says`` in it."""
    assert done.exit_code == 1
    assert done.stderr.startswith("emoface: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1

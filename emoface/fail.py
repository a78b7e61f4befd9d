"""How every verb says that something is wrong, and what its exit code says."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final, NoReturn

import typer

#: The verb was understood and could not do it.
FAILED: Final = 1
#: The command line cannot be meant: options that do not go together. Typer's own code for what it cannot read.
MISUSED: Final = 2
#: ``verify`` alone: at least one picture is not what it says it is.
NOT_VERIFIED: Final = 3


def fail(sentence: object, code: int = FAILED) -> NoReturn:
    """Print one sentence to standard error and exit with ``code``."""
    typer.echo(f"emoface: {sentence}", err=True)
    raise typer.Exit(code)


def need_torch(what: str) -> None:
    """Fail with one sentence unless PyTorch is installed; ``what`` needs it ("training", "--min-agreement")."""
    if find_spec("torch") is None:
        fail(f"{what} needs PyTorch, which is not installed ('pip install torch'); drawing on a CPU does not need it.")

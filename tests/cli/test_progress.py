"""Long work shows on a terminal how far it is, and nothing where nobody looks."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import emoface
from tests.training.conftest import pack_faces


def on_a_terminal(*arguments: object) -> str:
    """Return what a command shows on a terminal of its own."""
    mine, its = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "emoface", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=its, env=environment) as process:
        os.close(its)
        shown = b""
        while True:
            try:
                more = os.read(mine, 65536)
            except OSError:  # Linux's way to say that nobody has the other end any more
                break
            if not more:
                break
            shown += more
        os.close(mine)
    assert process.returncode == 0, shown
    return shown.decode()


@pytest.fixture
def commands(weights: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    faces = pack_faces(tmp_path / "train.zip", 70, 0)
    return {
        "Drawing": ("generate", "all", "--seeds", "0-40", "-o", tmp_path / "faces", "--weights", weights),
        "Exporting": ("export", "torchscript", tmp_path / "x.pt", "--weights", weights),
        "img/s": ("judge", "--train", faces, "--out", tmp_path / "judge.safetensors", "--epochs", 2),
    }


@pytest.mark.parametrize("says", ["Drawing", "Exporting", "img/s"])
def test_a_bar_is_drawn_on_a_terminal_alone(commands: dict[str, tuple[object, ...]], says: str) -> None:
    shown = on_a_terminal(*commands[says])
    assert says in shown
    assert ("%" in shown) == (says != "Exporting"), "nobody knows how far that is"
    done = emoface(*commands[says])
    assert done.returncode == 0
    assert says.encode() not in done.stderr
    assert done.stderr.count(b"\n") <= 1

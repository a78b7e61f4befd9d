"""A new machine, drawn small: stand-ins for Python, pip and the tools, so that nothing is installed or fetched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A Python as far as scripts/venv.sh asks: its version, whether it can make environments, and pip.
PYTHON = """#!/bin/sh
echo "$*" >>"{log}"
case "$*" in
*'print("%d'*) echo {version} ;;
*'sys.version_info <'*) exit {old} ;;
*'import ensurepip'*) exit {bare} ;;
*'print(sys.version)'*) echo {version} ;;
*find_spec*) ;;
scripts/whole.py) exit {halves} ;;
'-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
'-m pip --version') ;;
'-m pip install '*) exec sh "{pip}" ;;
*'import torch'*) ;;
*) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""


class Machine:
    """A folder with a copy of the scripts, and a PATH with nothing on it but what a test puts there."""

    TOOLS = ("sh", "awk", "cat", "cksum", "cp", "dirname", "id", "make", "mkdir", "mv", "rm", "tail", "tr")

    def __init__(self, folder: Path) -> None:
        self.repo, self.bin, self.log, self.pip = (
            folder / "re po",
            folder / "bin",
            folder / "log",
            folder / "pip.sh",
        )
        shutil.copytree(ROOT / "scripts", self.repo / "scripts")
        for name in ("pyproject.toml", "Makefile"):
            shutil.copy(ROOT / name, self.repo)
        self.bin.mkdir()
        for tool in self.TOOLS:
            found = shutil.which(tool)
            assert found, f"this test needs {tool}"
            (self.bin / tool).symlink_to(found)
        self.log.touch()
        self.pip.touch()
        self.disk(free_mb=100_000)

    def tool(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    def python(self, name: str, version: str, bare: bool = False, whole: bool = True) -> Path:
        old = int(tuple(map(int, version.split("."))) < (3, 11))
        answers = {"version": version, "old": old, "bare": int(bare), "halves": int(not whole)}
        return self.tool(name, PYTHON.format(log=self.log, pip=self.pip, **answers))

    def disk(self, free_mb: int) -> None:
        self.tool("df", f"#!/bin/sh\necho head\necho disk 1 1 {free_mb * 1024} 1% /\n")

    def run(self, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.repo), **extra}
        return subprocess.run(
            command,
            cwd=self.repo,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def setup(self, use: str = "serve", **extra: str) -> subprocess.CompletedProcess[str]:
        return self.run("scripts/venv.sh", use, **extra)

    def installs(self) -> list[str]:
        """What pip was asked to install since the last time this was called."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("-m pip install")]
        self.log.write_text("")
        return [line.split("--editable ", 1)[1] for line in lines]


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that failed."""
    assert result.returncode != 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("emoface: ")
    assert line.endswith(".")
    return line

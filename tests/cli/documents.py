"""Runs what documents say: each ``sh`` and ``python`` block, in order, as a reader would."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from tests.cli.running import in_process

ROOT = Path(__file__).resolve().parents[2]
#: A command that needs no shell but to write what it prints into a file.
_PLAIN = re.compile(r"emoface (?P<words>[^|<>&*$`;]*?)(?: > (?P<file>[\w.-]+))?")

#: Asks which shell it runs in; or has torch's exporters set up logging for the streams of the moment.
_OWN_PROCESS = re.compile(r"completion|emoface export")


def blocks(document: str) -> Iterator[tuple[str, str]]:
    """Give the language and the text of every block of code below ``docs/``."""
    for token in MarkdownIt().parse((ROOT / "docs" / document).read_text()):
        if token.type == "fence":
            yield token.info, token.content


def run_shell(text: str, environment: dict[str, str]) -> None:
    """Run a block, line by line. What needs no shell is run in this process, which saves loading torch."""
    for line in text.splitlines():
        plain = _PLAIN.fullmatch(line)
        if plain and not _OWN_PROCESS.search(line):
            done = in_process(*shlex.split(plain["words"], comments=True))
            assert done.exit_code == 0, f"{line}: {done.output}"
            if plain["file"]:
                Path(plain["file"]).write_bytes(done.stdout_bytes)
            continue
        # The colon keeps bash from becoming the command: it is looked for, to learn which shell is to complete.
        command = ["bash", "-euo", "pipefail", "-c", f"{line}\n:"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, f"{line}: {ended.stdout}{ended.stderr}"


def run_python(text: str, names: dict[str, Any]) -> None:
    """Run a block with the names that those before it have made."""
    exec(compile(text, "a document", "exec"), names)

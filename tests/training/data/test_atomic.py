"""A file is there as a whole or not at all, whatever ends the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from training.data.atomic import atomic_file, stop_signals_as_exit
from training.data.errors import DataError

# Writes, says so, and waits to be stopped: what happens afterwards happens in the middle of the file.
# Signals are set as a terminal has them: a test run in the background may have been told to ignore some.
WAITING = """
import signal, sys, time
from pathlib import Path
from training.data.atomic import atomic_file
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with atomic_file(Path(sys.argv[1])) as stream:
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    for _ in range(600):
        time.sleep(0.1)  # a single long sleep would sleep on if the signal came just before it
"""


def test_file_appears_at_the_end_and_replaces_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "data.zip"
    out.write_bytes(b"old")
    with atomic_file(out) as stream:
        stream.write(b"new")
        stream.flush()
        assert out.read_bytes() == b"old"
    assert out.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [out]


def test_content_is_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def spy_sync(descriptor: int) -> None:
        calls.append("fsync")
        sync(descriptor)

    def spy_replace(part: Path, path: Path) -> None:
        calls.append("replace")
        replace(part, path)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    with atomic_file(tmp_path / "data.zip") as stream:
        stream.write(b"new")
    assert calls[:2] == ["fsync", "replace"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    out = tmp_path / "data.zip"
    out.write_bytes(b"old")

    def write() -> None:
        with atomic_file(out) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(type(error)):
        write()
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, -signal.SIGINT)],
    ids=["SIGTERM", "SIGHUP", "SIGINT"],
)
def test_signal_leaves_nothing_behind(tmp_path: Path, number: int, status: int) -> None:
    out = tmp_path / "data.zip"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"writing\n"
    assert len(list(tmp_path.iterdir())) == 1, "the unfinished file is there"
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors.decode()
    assert list(tmp_path.iterdir()) == []


def test_own_handlers_of_the_program_are_left_alone() -> None:
    def mine(_number: int, _frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with stop_signals_as_exit():
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with stop_signals_as_exit():
            assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_works_outside_the_main_thread(tmp_path: Path) -> None:
    out = tmp_path / "data.zip"

    def write() -> None:
        with atomic_file(out) as stream:
            stream.write(b"new")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert out.read_bytes() == b"new"


def test_folder_that_is_missing_and_name_that_is_a_folder_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"folder .* does not exist"), atomic_file(tmp_path / "no" / "x.zip"):
        pass
    with pytest.raises(DataError, match="is a folder"), atomic_file(tmp_path):
        pass
    with pytest.raises(DataError, match="cannot write"), atomic_file(tmp_path / ("x" * 300)):
        pass
    assert list(tmp_path.iterdir()) == []

"""Freed memory stays with the process: a second block of the same size costs no page faults."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import ctypes, resource, sys
sys.path.insert(0, sys.argv[1])
from training.memory import keep_freed_memory
if sys.argv[2] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(48 << 20)
    ctypes.memset(block, 1, 48 << 20)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
use()
print(use())
"""


def _faults(how: str) -> int:
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run([sys.executable, "-c", PROBE, root, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tunes glibc")
def test_a_block_that_was_freed_is_used_again_without_page_faults():
    assert _faults("keep") <= 2
    assert _faults("as it comes") > 8  # a fault a page, or a huge page; the probe can tell


def test_it_says_so_where_there_is_nothing_to_tune(monkeypatch):
    from training import memory

    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
    monkeypatch.undo()

    def no_mallopt(_name):
        raise OSError

    monkeypatch.setattr(memory.ctypes, "CDLL", no_mallopt)
    assert memory.keep_freed_memory() is False

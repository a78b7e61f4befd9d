"""Cores: what a container may use counts, not what its host has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model import cores


@pytest.fixture
def four_cores(monkeypatch):
    """A process that is bound to four cores, without a quota and a number of threads of its own."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 2, 4, 6}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cores, "_QUOTA", Path("/nonexistent/cpu.max"))


@pytest.mark.parametrize(
    ("quota", "usable"),
    [
        ("max 100000\n", 4),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("800000 100000\n", 4),
        ("nonsense\n", 4),
        (None, 4),
    ],
)
def test_a_containers_quota_is_heeded(four_cores, tmp_path, monkeypatch, quota, usable):
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    monkeypatch.setattr(cores, "_QUOTA", path)
    assert cores.usable_cores() == usable


@pytest.mark.parametrize(("named", "usable"), [("1", 1), ("3", 3), ("9", 4), ("0", 4), ("", 4), ("4,2", 4), ("-1", 4)])
def test_the_environment_may_name_fewer(four_cores, monkeypatch, named, usable):
    monkeypatch.setenv("OMP_NUM_THREADS", named)
    assert cores.usable_cores() == usable


def test_a_system_without_affinities_counts_its_cores(four_cores, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores.usable_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.usable_cores() == 1

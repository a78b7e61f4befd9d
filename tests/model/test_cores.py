"""Cores: what a container may use counts, not what its host has."""

from __future__ import annotations

import pytest
import torch

from model import cores


@pytest.mark.parametrize(
    ("quota", "threads", "usable"),
    [
        ("max 100000\n", 4, 4),
        ("200000 100000\n", 4, 2),
        ("150000 100000\n", 4, 2),
        ("10000 100000\n", 4, 1),
        ("800000 100000\n", 4, 4),
        ("nonsense\n", 4, 4),
        (None, 4, 4),
    ],
)
def test_a_containers_quota_is_heeded(tmp_path, monkeypatch, quota, threads, usable):
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota)
    monkeypatch.setattr(cores, "_QUOTA", path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert cores.usable_cores() == usable

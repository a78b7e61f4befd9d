"""How many cores this process may use."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import torch

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return as many as torch uses (the cores this process is bound to, or OMP_NUM_THREADS), or its container may.

    A container with a quota (docker's ``--cpus``, Kubernetes' limits) sees all cores of its host, and threads on all of
    them would use the quota up at once and then stand still for the rest of each period (Linux, cgroup v2, cpu.max).
    """
    cores = torch.get_num_threads()
    try:
        quota, period = _QUOTA.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or no limit: "max"
        return cores

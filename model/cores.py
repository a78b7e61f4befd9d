"""How many cores this process may use. Needs no torch."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Return the cores that this process is bound to, or fewer where OMP_NUM_THREADS or its container's quota says so.

    A container with a quota (docker's ``--cpus``, limits of Kubernetes) sees all cores of its host, and threads on all
    of them would use the quota up at once and then stand still for the rest of each period (Linux, cgroup v2, cpu.max).
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    named = os.environ.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and int(named) > 0:
        cores = min(cores, int(named))
    try:
        quota, period = _QUOTA.read_text().split()
        return min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or no limit: "max"
        return cores

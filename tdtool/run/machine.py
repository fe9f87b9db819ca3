"""What this process may use: cores and memory, as the system, an affinity mask or a container allows."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Cores this process may run on; a container's quota counts, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit() and int(period) > 0:
        cores = min(cores, max(1, -(-int(quota) // int(period))))
    return cores


def total_memory() -> int:
    """Bytes of memory this process may fill; a container's limit counts."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _read(_CGROUP / "memory.max")
    return min(installed, int(limit)) if limit.isdigit() else installed


def default_memory() -> int:
    """Half of the memory: what a run may hold of what grows with the documents before it goes to scratch files."""
    return total_memory() // 2


def available_memory() -> int | None:
    """Bytes that are free or can be freed at once; None where the system does not tell."""
    for line in _read(Path("/proc/meminfo")).splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    return None


def _read(path: Path) -> str:
    """The text of a file of the system, "" where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""

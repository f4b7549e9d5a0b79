"""Resource usage of a process as the kernel counts it (man 5 proc), and the cores that it runs on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Resource usage: ``rss`` in MiB, ``cpu`` in seconds of one core since the process' start."""

    rss: float
    cpu: float
    threads: int
    files: int


def pin(cores: int) -> list[int]:
    """Bind this process to its ``cores`` lowest cores, where the system allows it; returns the cores chosen."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, chosen)
    return chosen


def peak_rss(pid: int | None = None) -> float:
    """Peak resident memory of the process ``pid`` (default: this one) in MiB: VmHWM of its status.

    getrusage's ru_maxrss would be the parent's, if that was larger when it started this process. Raises OSError if the
    process has ended.
    """
    status = Path("/proc") / ("self" if pid is None else str(pid)) / "status"
    fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def usage(pid: int) -> Usage:
    """Current resource usage of the process ``pid``. Raises OSError if it has ended."""
    folder = Path("/proc") / str(pid)
    # The program's name is in parentheses and may contain spaces; field 3 is the first one after it.
    fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    user, system, threads, pages = (int(fields[number - 3]) for number in (14, 15, 20, 24))
    return Usage(
        rss=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        cpu=(user + system) / os.sysconf("SC_CLK_TCK"),
        threads=threads,
        files=len(list((folder / "fd").iterdir())),
    )

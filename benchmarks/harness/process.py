"""What a running process uses, as the kernel counts it (man proc), and on which cores it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """``rss`` in MiB, ``cpu`` in seconds of one core since the start."""

    rss: float
    cpu: float
    threads: int
    files: int


def pin(cores: int) -> list[int]:
    """Keep this process on so many of its cores, the lowest ones, where the system allows it; which they are."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    os.sched_setaffinity(0, chosen)
    return chosen


def peak_rss(pid: int | None = None) -> float:
    """The most memory that the process ``pid`` (default: this one) has held at once, MiB: VmHWM of its status.

    getrusage's ru_maxrss would be the parent's, if that was larger when it started this process. Raises OSError if it
    is gone.
    """
    status = Path("/proc") / ("self" if pid is None else str(pid)) / "status"
    fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def usage(pid: int) -> Usage:
    """Look at the process ``pid``. Raises OSError if it is gone."""
    folder = Path("/proc") / str(pid)
    # The name of the program stands in brackets and may hold spaces; after it come the fields from number 3 on.
    fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    user, system, threads, pages = (int(fields[number - 3]) for number in (14, 15, 20, 24))
    return Usage(
        rss=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        cpu=(user + system) / os.sysconf("SC_CLK_TCK"),
        threads=threads,
        files=len(list((folder / "fd").iterdir())),
    )

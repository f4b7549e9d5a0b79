"""What a running process uses, as the kernel counts it (man proc)."""

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

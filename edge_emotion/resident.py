"""How much memory this process holds, and the limit on it (``max_rss``)."""

from __future__ import annotations

import os
from pathlib import Path

from edge_emotion.errors import MemoryLimitReached

MIB = 1024 * 1024


def resident_bytes() -> int:
    """Bytes of this process that are in memory now: the resident set of /proc/self/statm (man proc)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def check_resident(limit: int) -> None:
    """Raises MemoryLimitReached if the process holds more than ``limit`` bytes."""
    held = resident_bytes()
    if held > limit:
        raise MemoryLimitReached(
            f"{held / MIB:.0f} MiB of memory are in use, max_rss is {limit / MIB:.0f}: the daemon ends, to be started "
            "again; if that happens at once, set max_rss higher"
        )

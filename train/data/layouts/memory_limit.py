"""Whether pictures fit into the memory that is free, said before the first one is read."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from train.data.faces import DataError

SHARE = 0.8
"""Of the memory that is free; the rest is for whoever asked for the pictures."""

HELD = 2
"""Times that the pictures are in memory: once more while splits are cut, restricted or freed of copies."""

CGROUP_V2 = "memory.max", "memory.current", "inactive_file"
CGROUP_V1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
"""Limit, use, and what of the use the kernel gives back (line of memory.stat): the kernel's admin guide, cgroups."""


def require_memory(count: int, shape: tuple[int, ...], *, text: int = 0, available: int | None = None) -> None:
    """Raises DataError if ``count`` pictures, and ``text`` bytes of tables, would not fit into what is free."""
    free = available_memory() if available is None else available
    need = HELD * count * math.prod(shape) + text
    if free is not None and need > free * SHARE:
        raise DataError(
            f"{count} pictures of {' x '.join(map(str, shape))} need {need / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of "
            "memory are free: take a smaller size, grey pictures or fewer of them"
        )


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can be had without swapping, under the limits of the container as well; None if nobody says.

    Systems other than Linux say only how much memory there is. ``root`` is where /proc and /sys are.
    """
    free = [*_system(root), *_groups(root)]
    return max(min(free), 0) if free else None


def _system(root: Path) -> Iterator[int]:
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return


def _groups(root: Path) -> Iterator[int]:
    """What every limit that holds for this process leaves: those of its control group and of the groups above."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(mount, path, *CGROUP_V2)
        elif "memory" in controllers.split(","):
            yield from _left(mount / "memory", path, *CGROUP_V1)


def _left(mount: Path, path: str, limit: str, used: str, cache: str) -> Iterator[int]:
    """From the group at ``path`` up to the mount point: inside a container only the latter may be visible."""
    parts = [part for part in path.split("/") if part]
    for depth in range(len(parts), -1, -1):
        group = mount.joinpath(*parts[:depth])
        try:
            most, use = (int((group / name).read_text(encoding="ascii")) for name in (limit, used))
        except (OSError, ValueError):  # no such group here, or the limit is "max"
            continue
        yield most - use + _reclaimable(group, cache)


def _reclaimable(group: Path, name: str) -> int:
    try:
        lines = (line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        return next((int(value) for key, value in lines if key == name), 0)
    except (OSError, ValueError):
        return 0

"""How the machine is doing: what Linux says in /proc and /sys, without privileges and without vcgencmd."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TypedDict

from edge_emotion.errors import MemoryLimitReached
from edge_emotion.system import sensors
from edge_emotion.system.sensors import ROOT

MIB = 1024 * 1024


FIRMWARE_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""What the bits of the Raspberry Pi's firmware are called in ``stats``."""


class Readings(TypedDict):
    """``throttling`` lists why the processor is slowed down now; None is what this system does not tell."""

    rss_mb: float
    cpu_percent: float
    temperature_c: float | None
    throttling: list[str] | None


class Machine:
    """Readings of this process and its machine; processor time is that since the last ones, 100 % is one core."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._wall, self._cpu = time.monotonic(), time.process_time()

    def readings(self) -> Readings:
        """How it is now."""
        wall, cpu = time.monotonic(), time.process_time()
        used = (cpu - self._cpu) / max(wall - self._wall, 1e-3)
        self._wall, self._cpu = wall, cpu
        return {
            "rss_mb": round(resident_bytes() / 1e6, 1),
            "cpu_percent": round(100 * used, 1),
            "temperature_c": temperature(self._root),
            "throttling": throttling(self._root),
        }


def temperature(root: Path = ROOT) -> float | None:
    """Degrees Celsius of the processor, else of the hottest zone; None if there is none."""
    zones = [("cpu" in zone.kind.lower(), zone.degrees) for zone in sensors.zones(root)]
    return round(max(zones)[1], 1) if zones else None


def throttling(root: Path = ROOT) -> list[str] | None:
    """Why the processor is slowed down now, empty if it is not; None if nobody tells.

    From the Raspberry Pi's firmware driver, and from Linux' own cooling by lower frequencies (any machine).
    """
    firmware = sensors.firmware(root)
    devices = [device for device in sensors.cooling(root) if device.processor]
    if firmware is None and not devices:
        return None
    reasons = [] if firmware is None else [FIRMWARE_FLAGS[bit] for bit in firmware.now]
    return reasons + ["cooling"] * any(device.active for device in devices)


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

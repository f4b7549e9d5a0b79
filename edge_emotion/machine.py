"""How the machine is doing: what Linux says in /proc and /sys, without privileges and without vcgencmd."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from edge_emotion.resident import resident_bytes

ROOT = Path("/")

FIRMWARE_FLAGS = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of the Raspberry Pi firmware's get_throttled that are about now (documentation of vcgencmd)."""


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
    """Degrees Celsius of the processor, else of the hottest zone (Linux, sysfs-thermal); None if there is none."""
    zones: list[tuple[bool, float]] = []
    for zone in root.glob("sys/class/thermal/thermal_zone*"):
        with suppress(OSError, ValueError):  # a zone that is off cannot be read
            degrees = int((zone / "temp").read_text()) / 1000
            kind = (zone / "type").read_text().lower()
            if 0 < degrees < 150 and "pmic" not in kind:  # Jetson's PMIC always says 50 or 100
                zones.append(("cpu" in kind, degrees))
    return round(max(zones)[1], 1) if zones else None


def throttling(root: Path = ROOT) -> list[str] | None:
    """Why the processor is slowed down now, empty if it is not; None if nobody tells.

    From the Raspberry Pi's firmware driver, and from Linux' own cooling by lower frequencies (any machine).
    """
    known, reasons = False, []
    for path in root.glob("sys/devices/platform/soc*/*firmware/get_throttled"):
        with suppress(OSError, ValueError):
            flags = int(path.read_text(), 16)
            known = True
            reasons += [name for bit, name in FIRMWARE_FLAGS.items() if flags >> bit & 1]
    for device in root.glob("sys/class/thermal/cooling_device*"):
        with suppress(OSError, ValueError):
            if "cpufreq" in (device / "type").read_text():
                slowed = int((device / "cur_state").read_text()) > 0
                known = True
                reasons += ["cooling"] * slowed
    return list(dict.fromkeys(reasons)) if known else None

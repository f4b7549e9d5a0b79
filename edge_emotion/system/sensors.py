"""What Linux and a board's firmware tell in /sys of heat and of being slowed down: the only reader of these files.

Nothing here needs privileges or vcgencmd. ``root`` is where the system's files are looked for; tests give another one.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")

UNDER_VOLTAGE = 0
"""Bit of the Raspberry Pi firmware's get_throttled (raspberrypi.com, vcgencmd); 1: capped, 2: throttled, 3: hot."""

_NOW_BITS = range(4)
_SINCE_START = 16
"""The same bits, moved up by so many, tell of the time since the start."""

_PROCESSOR = ("cpu", "thermal-cpufreq", "processor")
_SLOWING = (*_PROCESSOR, "gpu", "devfreq")
"""How the types of cooling devices begin that cool by slowing down (Linux, sysfs-thermal); a fan's is none of them."""


class Zone(NamedTuple):
    """A thermal zone: the kernel's name for it, degrees Celsius."""

    kind: str
    degrees: float


class Firmware(NamedTuple):
    """Bits of get_throttled, in order: what holds the board back ``now``, and what has ``before``, since its start."""

    now: tuple[int, ...]
    before: tuple[int, ...]


class Cooling(NamedTuple):
    """A way to cool by slowing down: the kernel's name for it, and whether it is in use."""

    kind: str
    active: bool

    @property
    def processor(self) -> bool:
        """True if it is the processor that is slowed down."""
        return self.kind.lower().startswith(_PROCESSOR)


def zones(root: Path = ROOT) -> list[Zone]:
    """Every zone that can be read and says something possible."""
    found = []
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        kind, milli = _text(folder / "type") or folder.name, _number(folder / "temp")
        # A zone that is off cannot be read or says -256; a Jetson's PMIC says 50 or 100 at all times.
        if milli is not None and 0 < milli < 150_000 and "pmic" not in kind.lower():
            found.append(Zone(kind, milli / 1000))
    return found


def firmware(root: Path = ROOT) -> Firmware | None:
    """What a Raspberry Pi's firmware says, or its kernel's alarm for the supply voltage; None if there is neither."""
    files = (root / "sys/devices/platform").glob("soc*/*firmware*/get_throttled")
    flags = next((bits for file in files if (bits := _number(file, base=16)) is not None), None)
    alarms = (root / "sys/class/hwmon").glob("hwmon*/in0_lcrit_alarm")
    alarm = [_number(file) for file in alarms if _text(file.with_name("name")) == "rpi_volt"]
    if flags is None and not alarm:
        return None
    bits = (flags or 0) | (1 << UNDER_VOLTAGE) * (1 in alarm)
    return Firmware(
        tuple(bit for bit in _NOW_BITS if bits >> bit & 1),
        tuple(bit for bit in _NOW_BITS if bits >> (_SINCE_START + bit) & 1),
    )


def cooling(root: Path = ROOT) -> list[Cooling]:
    """Every device of the kernel that cools by slowing down and tells whether it does."""
    found = []
    for folder in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        kind, state = _text(folder / "type"), _number(folder / "cur_state")
        if kind.lower().startswith(_SLOWING) and state is not None:
            found.append(Cooling(kind, state > 0))
    return found


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_bytes().decode("utf-8", "replace").strip("\0\n ")
    return ""


def _number(path: Path, base: int = 10) -> int | None:
    with suppress(ValueError):
        return int(_text(path), base)
    return None

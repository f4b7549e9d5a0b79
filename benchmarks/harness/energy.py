"""What the machine uses, as its own meters tell: RAPL counters (PC), and the rails of INA power monitors (Jetson).

Sources: Linux, Documentation/power/powercap and Documentation/hwmon (sysfs-interface, ina2xx, ina3221).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

ROOT = Path("/")
COUNTERS, MONITORS = "sys/class/powercap", "sys/class/hwmon"
CHANNELS = 3
"""Of one monitor, at most: an INA3221 has three."""
NOTHING = f"no meter: there is neither /{COUNTERS}/intel-rapl:0 (RAPL) nor an INA power monitor in /{MONITORS}"


class Meter(Protocol):
    """Something that tells of energy: ``joules`` went through it between its first and its last ``look``."""

    joules: float

    def look(self, now: float) -> None:
        """Bring it up to date, at monotonic seconds ``now``. Raises OSError or ValueError if it cannot be read."""


class Counter:
    """One domain of RAPL: ``energy_uj`` counts microjoules, and begins again at 0 after ``max_energy_range_uj``."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError or ValueError if it cannot be read."""
        self.joules = 0.0
        self._file = folder / "energy_uj"
        self._range = _number(folder / "max_energy_range_uj")
        self._last: int | None = None
        _number(self._file)

    def look(self, now: float) -> None:
        """As in Meter. It has to be looked at once for each time that it begins again."""
        count = _number(self._file)
        if self._last is not None:
            self.joules += used(self._last, count, self._range) / 1e6
        self._last = count


class Rail:
    """One rail of a power monitor: watts, which are added up by trapezoids between two looks."""

    def __init__(self, *files: Path) -> None:
        """``files``: one with microwatts, or one with millivolts and one with milliamperes.

        Raises OSError or ValueError if they cannot be read.
        """
        self.joules = 0.0
        self._files = files
        self._last: tuple[float, float] | None = None
        self._watts()

    def look(self, now: float) -> None:
        """As in Meter."""
        watts = self._watts()
        if self._last is not None:
            before, then = self._last
            self.joules += (now - before) * (watts + then) / 2
        self._last = now, watts

    def _watts(self) -> float:
        first, *second = (_number(file) for file in self._files)
        return first * (second[0] if second else 1) / 1e6


def used(before: int, after: int, span: int) -> int:
    """How far a counter went that begins again after ``span``, at most once in between."""
    return after - before if after >= before else after - before + span


def find_meters(root: Path = ROOT) -> tuple[dict[str, Meter], str | None]:
    """Name -> meter of everything that can be read, and why something or all of it is missing, if it is."""
    meters: dict[str, Meter] = {}
    locked: list[str] = []
    for name, make in [*_counters(root / COUNTERS), *_rails(root / MONITORS)]:
        try:
            meters[name if name not in meters else f"{name} {len(meters)}"] = make()
        except PermissionError as error:
            locked.append(str(error.filename))
        except (OSError, ValueError):  # a rail that is switched off
            continue
    if locked:
        return meters, f"only root may read {locked[0]}: run as root, or sudo chmod a+r {' '.join(locked)}"
    return meters, None if meters else NOTHING


def _counters(folder: Path) -> Iterator[tuple[str, Callable[[], Meter]]]:
    """Whole packages and, where there is one, the whole platform; their domains are parts of them."""
    for domain in sorted(folder.glob("intel-rapl:*")):
        if domain.name.count(":") == 1:
            yield _text(domain / "name") or domain.name, partial(Counter, domain)


def _rails(folder: Path) -> Iterator[tuple[str, Callable[[], Meter]]]:
    """Of each channel its power, else voltage and current; what has no current is the voltage over a shunt."""
    for chip in sorted(folder.glob("hwmon*")):
        kind = _text(chip / "name")
        if not kind.startswith("ina"):
            continue
        for channel in range(1, CHANNELS + 1):
            power, volts, amperes = (chip / f"{what}{channel}_input" for what in ("power", "in", "curr"))
            label = _text(chip / f"in{channel}_label") or _text(chip / f"power{channel}_label")
            if power.exists():
                yield label or f"{kind} {channel}", partial(Rail, power)
            elif label and amperes.exists():
                yield label, partial(Rail, volts, amperes)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""

"""Looks after heat, slowing down and energy, in a thread, while something else is measured."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.harness.energy import ROOT, Meter, find_meters
from edge_emotion.system.telemetry import temperature, throttling

EVERY = 0.5
"""Seconds between two looks."""


@dataclass(frozen=True)
class Conditions:
    """What was so during a run: the hottest moment in degrees Celsius, joules by meter, and reasons to be slow.

    None is what this machine does not tell.
    """

    hottest: float | None
    throttling: tuple[str, ...] | None
    joules: dict[str, float]


class _Look(NamedTuple):
    at: float
    degrees: float | None
    reasons: list[str] | None
    joules: dict[str, float]


class Watch:
    """Looks every ``EVERY`` seconds, for the time of the block. ``absent`` is what this machine does not tell, why."""

    def __init__(self, root: Path = ROOT) -> None:
        self.absent: dict[str, str] = {}
        self._root, self._looks = root, list[_Look]()
        self._meters, missing = find_meters(root)
        if missing:
            self.absent["energy"] = missing
        if temperature(root) is None:
            self.absent["temperature"] = "no thermal zone in /sys/class/thermal"
        if throttling(root) is None:
            self.absent["throttling"] = "neither firmware nor kernel tells whether the processor is slowed down"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self.look(time.monotonic())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self.look(time.monotonic())

    def look(self, now: float) -> None:
        """Look once, at monotonic seconds ``now``."""
        for name, meter in list(self._meters.items()):
            if not _works(meter, now):
                del self._meters[name]
                self.absent[f"energy {name}"] = "its meter has stopped telling"
        joules = {name: meter.joules for name, meter in self._meters.items()}
        self._looks.append(_Look(now, temperature(self._root), throttling(self._root), joules))

    def between(self, begin: float, end: float) -> Conditions:
        """What was so from ``begin`` to ``end``, monotonic seconds, energy by interpolation between the looks."""
        looks = list(self._looks)
        times = [look.at for look in looks]
        during = [look for look in looks if begin <= look.at <= end] or looks[-1:]
        degrees = [look.degrees for look in during if look.degrees is not None]
        reasons = [look.reasons for look in during if look.reasons is not None]
        joules = {}
        for name in self._meters:
            first, last = np.interp((begin, end), times, [look.joules[name] for look in looks])
            joules[name] = float(last - first)
        return Conditions(
            max(degrees, default=None),
            tuple(dict.fromkeys(reason for some in reasons for reason in some)) if reasons else None,
            joules,
        )

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            self.look(time.monotonic())


def _works(meter: Meter, now: float) -> bool:
    try:
        meter.look(now)
    except (OSError, ValueError):
        return False
    return True

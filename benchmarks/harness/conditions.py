"""Temperature, throttling and energy of the machine, sampled in a thread while a benchmark runs."""

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
"""Seconds between two samples."""


@dataclass(frozen=True)
class Conditions:
    """The conditions during one run: highest temperature in degrees Celsius, reasons for throttling, joules by meter.

    None where this machine has no such sensor.
    """

    hottest: float | None
    throttling: tuple[str, ...] | None
    joules: dict[str, float]


class _Sample(NamedTuple):
    at: float
    degrees: float | None
    reasons: list[str] | None
    joules: dict[str, float]


class ConditionsMonitor:
    """Context manager that samples the sensors every ``EVERY`` seconds. ``absent``: sensor -> why it is missing."""

    def __init__(self, root: Path = ROOT) -> None:
        self.absent: dict[str, str] = {}
        self._root, self._samples = root, list[_Sample]()
        self._meters, missing = find_meters(root)
        if missing:
            self.absent["energy"] = missing
        if temperature(root) is None:
            self.absent["temperature"] = "no thermal zone in /sys/class/thermal"
        if throttling(root) is None:
            self.absent["throttling"] = "neither firmware nor kernel reports whether the processor is slowed down"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def __enter__(self) -> ConditionsMonitor:
        self.sample(time.monotonic())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self.sample(time.monotonic())

    def sample(self, now: float) -> None:
        """Take one sample at ``now``, monotonic seconds."""
        for name, meter in list(self._meters.items()):
            if not _works(meter, now):
                del self._meters[name]
                self.absent[f"energy {name}"] = "its meter can no longer be read"
        joules = {name: meter.joules for name, meter in self._meters.items()}
        self._samples.append(_Sample(now, temperature(self._root), throttling(self._root), joules))

    def between(self, begin: float, end: float) -> Conditions:
        """The conditions from ``begin`` to ``end``, monotonic seconds; energy is interpolated between the samples."""
        samples = list(self._samples)
        times = [sample.at for sample in samples]
        during = [sample for sample in samples if begin <= sample.at <= end] or samples[-1:]
        degrees = [sample.degrees for sample in during if sample.degrees is not None]
        reasons = [sample.reasons for sample in during if sample.reasons is not None]
        joules = {}
        for name in self._meters:
            first, last = np.interp((begin, end), times, [sample.joules[name] for sample in samples])
            joules[name] = float(last - first)
        return Conditions(
            max(degrees, default=None),
            tuple(dict.fromkeys(reason for some in reasons for reason in some)) if reasons else None,
            joules,
        )

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            self.sample(time.monotonic())


def _works(meter: Meter, now: float) -> bool:
    try:
        meter.update(now)
    except (OSError, ValueError):
        return False
    return True

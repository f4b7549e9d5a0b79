"""What a run of the pipeline has found, and the figures that several runs of one thing make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from benchmarks.harness.conditions import Conditions
from benchmarks.harness.drift import Drift
from benchmarks.results.results import Measurement, quantiles
from edge_emotion.models.manifest import Part

FIGURES: dict[str, tuple[str, Literal["lower", "higher"] | None]] = {
    "fps": ("1/s", "higher"),
    "overhead": ("x", "lower"),
    "dropped": ("%", "lower"),
    "CPU": ("%", None),
    "CPU/frame": ("ms", "lower"),
    "peak RSS": ("MiB", "lower"),
    "drift": ("x", None),
    "hottest": ("°C", None),
}
"""Metric -> unit, and what is better. CPU alone says nothing: who does more needs more."""


class Run(Part):
    """One run. ``stages`` are ms by quantile, ``figures`` by their names in FIGURES, both of ``n`` observations.

    ``began`` and ``ended`` are monotonic seconds. ``drift`` is None if there was too little to tell. ``absent`` says
    what could not be measured, why.
    """

    stages: dict[str, dict[str, float]] = Field(default={})
    figures: dict[str, float] = Field(default={})
    n: int = Field(ge=1)
    began: float
    ended: float
    drift: Drift | None = None
    artefacts: dict[str, str] = Field(default={})
    absent: dict[str, str] = Field(default={})


def in_ms(seconds: Mapping[str, Sequence[float] | np.ndarray[Any, Any]]) -> dict[str, dict[str, float]]:
    """Stage -> seconds as stage -> quantile -> ms."""
    return {stage: quantiles(1000 * np.asarray(values)) for stage, values in seconds.items()}


def as_measurements(name: str, runs: Sequence[Run], conditions: Sequence[Conditions]) -> Iterator[Measurement]:
    """The figures of one thing from all its runs, and from what was so meanwhile; then its stages, each a subject.

    What not every run has found is left out.
    """
    n = min(run.n for run in runs)
    figures = [run.figures | _of_conditions(run, seen) for run, seen in zip(runs, conditions, strict=True)]
    for metric in _common(figures):
        unit, better = FIGURES[metric]
        values = tuple(one[metric] for one in figures)
        yield Measurement(subject=name, metric=metric, unit=unit, better=better, runs=values, n=n)
    yield from _energy(name, runs, conditions)
    for stage in _common([run.stages for run in runs]):
        for quantile in _common([run.stages[stage] for run in runs]):
            values = tuple(run.stages[stage][quantile] for run in runs)
            subject = f"{name}: {stage}"
            yield Measurement(subject=subject, metric=quantile, unit="ms", better="lower", runs=values, n=n)


def _of_conditions(run: Run, seen: Conditions) -> dict[str, float]:
    known = {"drift": run.drift and run.drift.ratio, "hottest": seen.hottest}
    return {metric: value for metric, value in known.items() if value is not None}


def _energy(name: str, runs: Sequence[Run], conditions: Sequence[Conditions]) -> Iterator[Measurement]:
    """Watts and millijoules per frame of each meter; only of the daemon, which does nothing but its work."""
    if any("CPU" not in run.figures for run in runs):
        return
    n = min(run.n for run in runs)
    for meter in _common([seen.joules for seen in conditions]):
        both = list(zip(runs, (seen.joules[meter] for seen in conditions), strict=True))
        watts = tuple(joules / (run.ended - run.began) for run, joules in both)
        each = tuple(1000 * joules / run.n for run, joules in both)
        yield Measurement(subject=name, metric=f"power {meter}", unit="W", runs=watts, n=n)
        yield Measurement(subject=name, metric=f"energy/frame {meter}", unit="mJ", better="lower", runs=each, n=n)


def _common(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys that are in all of them, in the order of the first."""
    return [key for key in tables[0] if all(key in table for table in tables)]

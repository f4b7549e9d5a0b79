"""Results and measurements for the tests of the benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results.results import Machine, Measurement, Result, write_result

HERE = Machine(machine="board", processor="chip", cores=4, governor="performance", load=0.1)


def one(
    *runs: float, metric: str = "p90", better: Any = "lower", subject: str = "net", unit: str = "ms"
) -> Measurement:
    return Measurement(subject=subject, metric=metric, unit=unit, better=better, runs=runs, n=1000)


def result(*measurements: Measurement, machine: Machine = HERE, **others: Any) -> Result:
    return Result(benchmark="latency", machine=machine, measurements=measurements, **others)


def saved(folder: Path, name: str, content: Result) -> str:
    write_result(folder / name, content)
    return str(folder / name)


def scored(value: float, low: float, high: float) -> Measurement:
    return one(value, metric="accuracy", better="higher", unit="%").model_copy(update={"interval": (low, high)})

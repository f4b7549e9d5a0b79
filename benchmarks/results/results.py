"""Common format of all benchmark results: measurements with their runs, machine, settings, and what is missing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from pydantic import Field, JsonValue, ValidationError, model_validator

from benchmarks.results.machine import describe_machine
from edge_emotion.errors import ConfigError
from edge_emotion.models.manifest import Part
from edge_emotion.system.atomic_file import write_text
from edge_emotion.system.plain_words import first_fault

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
BUSY = 0.25
"""Load per core from which on a machine counts as busy."""


class Machine(Part):
    """The machine of a result, from ``describe_machine``. A template has only some of the fields."""

    machine: str
    processor: str | None = None
    cores: int | None = None
    load: float | None = None
    governor: str | None = None
    system: str | None = None
    python: str | None = None
    packages: dict[str, str] = Field(default={})

    @property
    def identity(self) -> tuple[str, str | None, int | None]:
        """The fields that two results must share to be compared."""
        return self.machine, self.processor, self.cores

    @property
    def busy(self) -> bool:
        """Whether other programs were running at the start."""
        return self.load is not None and self.load > BUSY * (self.cores or 1)

    @property
    def cautions(self) -> list[str]:
        """Reasons to doubt the figures of this machine, a line each."""
        reasons = []
        if self.governor not in (None, "unknown", "performance"):
            reasons.append(
                f"caution: governor {self.governor}: the clock moves; for steady figures: "
                "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        if self.busy:
            reasons.append(f"caution: load {self.load:g} on {self.cores} cores: something else was running")
        return reasons


class Measurement(Part):
    """One figure: ``metric`` of ``subject`` in ``unit``, once for each of ``runs``.

    A run is one process. ``n``: observations behind the figure of each run. ``better``: the better direction, if there
    is one. ``interval``: 95 % interval, for figures of a sample of pictures.
    """

    subject: str
    metric: str
    unit: str
    better: Literal["lower", "higher"] | None = None
    runs: tuple[float, ...] = Field(min_length=1)
    n: int = Field(default=1, ge=1)
    interval: tuple[float, float] | None = None

    @property
    def value(self) -> float:
        """Median of the runs."""
        return median(self.runs)

    @property
    def spread(self) -> float | None:
        """Half the range of the runs over their median; None for a single run or a median of 0."""
        if len(self.runs) < 2 or not self.value:
            return None
        return (max(self.runs) - min(self.runs)) / 2 / abs(self.value)


class Result(Part):
    """The result of one call of a benchmark.

    ``artefacts``: name -> sha256 of the model files that were run. ``invalid``: subject -> why its figures must not be
    quoted. ``absent``: what could not be measured -> why. ``notes``: further lines that belong to the figures.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    benchmark: str
    status: Literal["measured", "not measured yet"] = "measured"
    measured_at: datetime | None = None
    machine: Machine
    settings: dict[str, JsonValue] = Field(default={})
    measurements: tuple[Measurement, ...] = ()
    artefacts: dict[str, str] = Field(default={})
    invalid: dict[str, str] = Field(default={})
    absent: dict[str, str] = Field(default={})
    notes: tuple[str, ...] = ()
    details: dict[str, JsonValue] = Field(default={})

    @model_validator(mode="after")
    def _measured_or_not(self) -> Result:
        if (self.status == "measured") != bool(self.measurements):
            raise ValueError("'measured' has measurements, 'not measured yet' has none")
        keys = [(one.subject, one.metric) for one in self.measurements]
        if len(set(keys)) != len(keys):
            raise ValueError("two measurements have the same subject and metric")
        return self

    @property
    def subjects(self) -> tuple[str, ...]:
        """The subjects, in order, without repetitions."""
        return tuple(dict.fromkeys(one.subject for one in self.measurements))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, in order, without repetitions."""
        return tuple(dict.fromkeys(one.metric for one in self.measurements))

    def find(self, subject: str, metric: str) -> Measurement | None:
        """The measurement with this subject and metric, None if there is none."""
        return next((one for one in self.measurements if (one.subject, one.metric) == (subject, metric)), None)

    def only(self, subjects: Sequence[str], metrics: Sequence[str]) -> Result:
        """A copy with the measurements of ``metrics`` only, of subjects that contain one of ``subjects``; empty: all.

        Raises ConfigError if nothing is left.
        """
        kept = tuple(
            one
            for one in self.measurements
            if (not metrics or one.metric in metrics)
            and (not subjects or any(part in one.subject for part in subjects))
        )
        if self.measurements and not kept:
            raise ConfigError(
                f"no such figure; metrics: {', '.join(self.metrics)}; subjects: {'; '.join(self.subjects)}"
            )
        return self.model_copy(update={"measurements": kept})


def this_machine() -> Machine:
    """``describe_machine`` as part of a result."""
    return Machine.model_validate(describe_machine())


def measured(benchmark: str, measurements: Sequence[Measurement], **others: Any) -> Result:
    """A result of this moment. ``others`` are fields of Result; ``machine`` is described before measuring."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return Result(benchmark=benchmark, measured_at=now, measurements=tuple(measurements), **others)


def quantiles(values: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, float]:
    """QUANTILES by nearest rank: each is the smallest observation that reaches its share of all.

    A quantile above which less than one observation is expected (p99.9 of fewer than 1000) is left out, except for the
    median.
    """
    known = [name for name, share in QUANTILES.items() if name == "p50" or len(values) * (1 - share) > 1 - 1e-9]
    found = np.quantile(values, [QUANTILES[name] for name in known], method="inverted_cdf")
    return dict(zip(known, map(float, found), strict=True))


def write_result(path: Path, result: Result) -> None:
    """Write a result as JSON. Raises OSError."""
    write_text(path, json.dumps(result.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2) + "\n")


def read_result(name: str | Path) -> Result:
    """Read a result. Raises ConfigError with the first fault."""
    path = Path(name)
    try:
        return Result.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigError(f"{path} is no result of a benchmark (schema 1): {first_fault(error, 'result')}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error


def significant(value: float) -> str:
    """A number with three significant figures and without exponent."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"

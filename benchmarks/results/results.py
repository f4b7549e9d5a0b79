"""One form for what every benchmark finds: figures with their runs, the machine, the settings, and what is missing."""

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

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
BUSY = 0.25
"""Load for each core from which on the figures of a machine are doubted."""


class Machine(Part):
    """Where it was measured: what ``describe_machine`` says. A template knows little of it."""

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
        """What two results must share for their figures to be compared."""
        return self.machine, self.processor, self.cores

    @property
    def busy(self) -> bool:
        """Whether something else was running at the start."""
        return self.load is not None and self.load > BUSY * (self.cores or 1)

    @property
    def cautions(self) -> list[str]:
        """What makes its figures doubtful, a line for each."""
        said = []
        if self.governor not in (None, "unknown", "performance"):
            said.append(
                f"caution: governor {self.governor}: the clock moves; for steady figures: "
                "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
            )
        if self.busy:
            said.append(f"caution: load {self.load:g} on {self.cores} cores: something else was running")
        return said


class Measurement(Part):
    """One figure: ``metric`` of ``subject``, in ``unit``, once for each of ``runs``.

    A run is one process. ``n`` is how many observations stand behind the figure of each run. ``better`` says which
    direction is better, where one is. ``interval`` holds 95 %, for a figure that is drawn from pictures.
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
        """The median of the runs."""
        return median(self.runs)

    @property
    def spread(self) -> float | None:
        """Half the range of the runs, as a share of their median; None for a single run or a median of 0."""
        if len(self.runs) < 2 or not self.value:
            return None
        return (max(self.runs) - min(self.runs)) / 2 / abs(self.value)


class Result(Part):
    """What one call of a benchmark has found.

    ``artefacts`` are the sha256 of the model files that were run, by name. ``invalid`` says for a subject why its
    figures must not be quoted, ``absent`` for what could not be measured why. ``notes`` are what else belongs to the
    figures, a line for each.
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
        """Every subject once, in order."""
        return tuple(dict.fromkeys(one.subject for one in self.measurements))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric once, in order."""
        return tuple(dict.fromkeys(one.metric for one in self.measurements))

    def find(self, subject: str, metric: str) -> Measurement | None:
        """The one measurement of it, if there is one."""
        return next((one for one in self.measurements if (one.subject, one.metric) == (subject, metric)), None)

    def only(self, subjects: Sequence[str], metrics: Sequence[str]) -> Result:
        """With no figures but those of ``metrics``, of subjects that contain one of ``subjects``; of none given: all.

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
    """``describe_machine``, as part of a result."""
    return Machine.model_validate(describe_machine())


def measured(benchmark: str, measurements: Sequence[Measurement], **others: Any) -> Result:
    """A result of this moment. ``others`` are fields of Result, ``machine`` as it was at the start."""
    now = datetime.now(timezone.utc).replace(microsecond=0)
    return Result(benchmark=benchmark, measured_at=now, measurements=tuple(measurements), **others)


def quantiles(values: Sequence[float] | np.ndarray[Any, Any]) -> dict[str, float]:
    """QUANTILES by nearest rank: each is the smallest observation that reaches its share of them.

    A quantile beyond which not even one observation is expected (p99.9 of fewer than 1000) is left out, the median
    never.
    """
    known = [name for name, share in QUANTILES.items() if name == "p50" or len(values) * (1 - share) > 1 - 1e-9]
    found = np.quantile(values, [QUANTILES[name] for name in known], method="inverted_cdf")
    return dict(zip(known, map(float, found), strict=True))


def write_result(path: Path, result: Result) -> None:
    """As JSON. Raises OSError."""
    write_text(path, json.dumps(result.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2) + "\n")


def read_result(name: str | Path) -> Result:
    """A result's file. Raises ConfigError with the first fault."""
    path = Path(name)
    try:
        return Result.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "result"
        raise ConfigError(f"{path} is no result of a benchmark (schema 1): {where}: {first['msg']}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error


def significant(value: float) -> str:
    """Three figures, and no exponent."""
    if not value or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"

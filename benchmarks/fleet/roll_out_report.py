"""The figures of roll-outs as a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.fleet.roll_out import BAD, WAVES, prove_roll_out
from benchmarks.fleet.roll_out_outcome import RolledOut, RollOutOutcome
from benchmarks.results.results import Measurement, Result, measured, this_machine


def measure_roll_out(nodes: int, daemons: int, show: Callable[[str], None]) -> tuple[Result, list[str]]:
    """Roll a bad and a good release out, and abort the good one; also returns what is not as it should be.

    Raises like ``prove_roll_out``.
    """
    machine = this_machine()
    outcome = prove_roll_out(nodes, daemons, lambda line: show(f"roll-out: {line}"))
    faults = [f"roll-out: {fault}" for fault in outcome.faults]
    result = measured(
        "fleet",
        _measurements(outcome),
        machine=machine,
        settings={"proof": "roll-out", "nodes": nodes, "daemons": daemons, "waves": WAVES, "bad_percent": BAD},
        invalid={"roll-out": "; ".join(outcome.faults)} if faults else {},
        details={"roll-out": json.loads(json.dumps(asdict(outcome)))},
    )
    return result, faults


def _measurements(outcome: RollOutOutcome) -> list[Measurement]:
    found = [
        _figure("roll-out", "nodes", "", outcome.nodes),
        _figure("roll-out", "daemons", "", outcome.daemons),
        _figure("roll-out", "forged refused", "", outcome.forged_refused),
        _figure("roll-out", "old refused", "", outcome.old_refused),
        _figure("roll-out: broker", "peak RSS", "MiB", outcome.broker_peak, "lower"),
        _figure("roll-out: simulator", "CPU", "s", outcome.simulator_cpu),
    ]
    for subject, part in (("bad release", outcome.bad), ("good release", outcome.good), ("abort", outcome.back)):
        found += _command(f"roll-out: {subject}", part)
    return found


def _command(subject: str, part: RolledOut) -> list[Measurement]:
    waves = [
        _figure(subject, f"wave {wave.percent:g} %", "s", wave.seconds, "lower", wave.nodes) for wave in part.waves
    ]
    names = ("touched", "using", "real_touched", "real_using", "real_refused", "real_returned")
    counts = [_figure(subject, name.replace("_", " "), "", getattr(part, name)) for name in names]
    return [_figure(subject, "time", "s", part.seconds, "lower"), *waves, *counts]


def _figure(subject: str, metric: str, unit: str, value: float, better: Any = None, n: int = 1) -> Measurement:
    return Measurement(subject=subject, metric=metric, unit=unit, better=better, runs=(float(value),), n=max(1, n))

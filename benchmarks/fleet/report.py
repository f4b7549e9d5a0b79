"""The figures of the scenarios as a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

from benchmarks.fleet.judge import Verdict
from benchmarks.fleet.proof import Outcome, Used, prove
from benchmarks.fleet.scenes import Plan
from benchmarks.results.results import Measurement, Result, measured, quantiles, this_machine
from edge_emotion.errors import BackendUnavailable

MANY = 100_000
"""Nodes for which memory is extrapolated."""


def measure_fleet(scenarios: Sequence[str], plan: Plan, show: Callable[[str], None]) -> tuple[Result, list[str]]:
    """Run the scenarios one after the other; also returns what was not kept, a line each.

    Raises BackendUnavailable if none of the brokers is installed, ConfigError, SinkError.
    """
    machine = this_machine()
    outcomes: dict[str, Outcome] = {}
    absent: dict[str, str] = {}
    for scenario in dict.fromkeys(scenarios):
        try:
            outcomes[scenario] = prove(scenario, plan, show)
        except BackendUnavailable as error:
            absent[scenario] = str(error)
    if not outcomes:
        raise BackendUnavailable("; ".join(absent.values()))
    found = [one for name, outcome in outcomes.items() for one in _measurements(name, plan, outcome)]
    faults = [
        f"{scenario}: {number} {name.replace('_', ' ')}"
        for scenario, outcome in outcomes.items()
        for name, number in outcome.verdict.faults.items()
    ]
    result = measured(
        "fleet",
        found,
        machine=machine,
        settings=asdict(plan),
        absent=absent,
        invalid={fault.split(":")[0]: "events were not kept" for fault in faults},
        notes=tuple(_extrapolated(name, plan, outcome) for name, outcome in outcomes.items()),
        details={name: _details(outcome) for name, outcome in outcomes.items()},
    )
    return result, faults


def _measurements(scenario: str, plan: Plan, outcome: Outcome) -> list[Measurement]:
    verdict = outcome.verdict
    found = [_figure(scenario, "nodes", "", plan.nodes)]
    for each in fields(Verdict):
        better = None if each.name in ("made", "acknowledged", "stored") else "lower"
        found.append(_figure(scenario, each.name.replace("_", " "), "", getattr(verdict, each.name), better))
    found += [
        _figure(
            scenario, "rate", "1/s", verdict.acknowledged / (outcome.times.sending + outcome.times.draining), "higher"
        ),
        _figure(scenario, "connecting", "s", outcome.times.connecting, "lower"),
        _figure(scenario, "outage", "s", max(outcome.measured.outages, default=0.0), "lower"),
    ]
    waits = outcome.measured.waits
    if waits:
        found += [
            _figure(scenario, f"PUBACK {name}", "ms", 1000 * value, "lower", len(waits))
            for name, value in quantiles(waits).items()
        ]
        found.append(_figure(scenario, "PUBACK max", "ms", 1000 * max(waits), "lower", len(waits)))
    for part, used in (("broker", outcome.brokers), ("collector", outcome.collectors)):
        found += _costs(f"{scenario}: {part}", used, plan, verdict)
    return [*found, _figure(f"{scenario}: simulator", "CPU/event", "ms", _per_event(outcome.simulator_cpu, verdict))]


def _costs(subject: str, used: Used, plan: Plan, verdict: Verdict) -> list[Measurement]:
    costs = [
        _figure(subject, "peak RSS", "MiB", used.peak, "lower"),
        _figure(subject, "CPU/event", "ms", _per_event(used.cpu, verdict), "lower"),
    ]
    if subject.endswith("broker"):
        costs.append(_figure(subject, "RSS/node", "KiB", _per_node(used, plan), "lower"))
    return costs


def _figure(subject: str, metric: str, unit: str, value: float, better: Any = None, n: int = 1) -> Measurement:
    return Measurement(subject=subject, metric=metric, unit=unit, better=better, runs=(float(value),), n=n)


def _per_node(used: Used, plan: Plan) -> float:
    """KiB that a node has added to the memory of the programs together."""
    return 1024 * (used.peak - used.before) / plan.nodes


def _per_event(cpu: float, verdict: Verdict) -> float:
    return 1000 * cpu / max(1, verdict.acknowledged)


def _extrapolated(scenario: str, plan: Plan, outcome: Outcome) -> str:
    memory = outcome.brokers.before / 1024 + _per_node(outcome.brokers, plan) * MANY / 1024**2
    return f"{scenario}, extrapolated, not measured: brokers of {MANY:,} nodes hold {memory:.1f} GiB together"


def _details(outcome: Outcome) -> dict[str, Any]:
    return {
        "verdict": asdict(outcome.verdict),
        "seconds": {name: round(seconds, 2) for name, seconds in asdict(outcome.times).items()},
        "connections_lost": len(outcome.measured.outages),
        "made_by_daemons": outcome.by_daemons,
    }

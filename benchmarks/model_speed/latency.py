"""How fast a model's files are here, each in a process of its own, in turns, and how far from the machine's peak."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.harness.interleave import ask, in_turns
from benchmarks.model_speed.machine_peak import INPUT, Arithmetic, write_peak_model
from benchmarks.model_speed.macs import count_activations, count_macs
from benchmarks.model_speed.worker import DELEGATES, FORMATS, Job, Report, Scenario
from benchmarks.results.results import Measurement, Result, measured, this_machine
from edge_emotion.backends.tflite import check_delegate
from edge_emotion.errors import BackendUnavailable, ConfigError, EdgeEmotionError, ModelError
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import ModelFile

BUILDING = 1800.0
"""Seconds that a process may need beside its measurements: TensorRT builds an engine at the first start."""


@dataclass(frozen=True)
class Thing:
    """What is measured: a job under its name. ``peak`` is the peak that its rate is compared with.

    ``macs`` and ``activations`` (bytes at once) follow from the file, where it tells.
    """

    subject: str
    job: Job
    macs: int | None
    peak: Thing | None = None
    activations: int | None = None


def measure_latency(
    models: Sequence[str],
    *,
    backends: Sequence[str] | None,
    threads: Sequence[int],
    rounds: int,
    scenario: Scenario,
    show: Callable[[str], None],
) -> Result:
    """Measure every file of ``models`` with every one of ``backends`` (None: all that read it) and ``threads``.

    A round measures each thing once, so that whatever else the machine does meets all of them; ``show`` gets a line for
    each. What cannot be measured is said in the result. Raises ModelError for a bad model, ConfigError if there is
    nothing to measure, EdgeEmotionError if nothing could be.
    """
    machine, absent = this_machine(), dict[str, str]()
    for line in machine.cautions:
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        peaks = _peaks(Path(folder), threads, scenario, absent)
        present = list(_present(backends or list(FORMATS), absent))
        things = list(_things(models, present, peaks, threads, scenario, absent))
        if not things:
            reasons = "".join(f"; {name}: {absent[name]}" for name in backends or () if name in absent)
            raise ConfigError(f"no file of {', '.join(models)} is read by {', '.join(backends or FORMATS)}{reasons}")
        needed = [peak for peak in peaks.values() if any(thing.peak is peak for thing in things)]
        reports = run_rounds([*things, *needed], rounds, absent, show)
    kept = [thing for thing in things if reports[thing.subject]]
    if not kept:
        raise EdgeEmotionError("nothing could be measured: " + "; ".join(f"{k}: {v}" for k, v in absent.items()))
    limits = [peak for peak in needed if reports[peak.subject]]
    return measured(
        "latency",
        [
            *(one for thing in kept for one in as_measurements(thing, reports)),
            *(one for peak in limits for one in peak_measurements(peak, reports[peak.subject])),
        ],
        machine=machine,
        settings={"rounds": rounds, **scenario.model_dump()},
        artefacts={f"{thing.job.folder.name}/{thing.job.entry.file}": thing.job.entry.sha256 for thing in kept},
        invalid={one.subject: fault for one in kept + limits if (fault := _fault(reports[one.subject], scenario))},
        absent=absent,
        details={"backends": {thing.subject: reports[thing.subject][0].backend for thing in kept}},
    )


def run_rounds(
    things: Sequence[Thing], rounds: int, absent: dict[str, str], show: Callable[[str], None]
) -> dict[str, list[Report]]:
    """The reports of each thing, A B A B; one that fails is measured no more, and ``absent`` says why."""
    runs = {thing.subject: partial(run_job, thing.job) for thing in things}
    return in_turns(runs, rounds, absent, show, lambda report: f"p50 {report.latency['p50']:.3f} ms")


def run_job(job: Job) -> Report:
    """Do it in a process of its own. Raises EdgeEmotionError with that process' last words."""
    patience = BUILDING + job.scenario.limit + job.scenario.seconds
    return Report.model_validate_json(ask("benchmarks.model_speed.worker", job.model_dump_json(), patience))


def as_measurements(thing: Thing, reports: dict[str, list[Report]]) -> Iterator[Measurement]:
    """The figures of one thing from its reports and those of its peak."""
    mine = reports[thing.subject]
    queries, batched = min(report.queries for report in mine), min(report.offline_n for report in mine)

    def lower(metric: str, unit: str, runs: Iterable[float], n: int = 1) -> Measurement:
        return Measurement(subject=thing.subject, metric=metric, unit=unit, better="lower", runs=tuple(runs), n=n)

    def higher(metric: str, unit: str, runs: Iterable[float], n: int) -> Measurement:
        return Measurement(subject=thing.subject, metric=metric, unit=unit, better="higher", runs=tuple(runs), n=n)

    for name in mine[0].latency:
        if all(name in report.latency for report in mine):
            yield lower(name, "ms", (report.latency[name] for report in mine), queries)
    yield higher("offline", "1/s", (report.offline for report in mine), batched)
    yield lower("load", "ms", (report.load for report in mine))
    yield lower("peak RSS", "MiB", (report.peak_rss for report in mine))
    yield lower("added RSS", "MiB", (report.peak_rss - report.base_rss for report in mine))
    yield lower("file", "KiB", (report.file_size / 1024 for report in mine))
    if thing.activations is not None:
        yield lower("activations", "KiB", (thing.activations / 1024,))
    if thing.macs is None:
        return
    rates = mac_rates(thing.macs, mine)
    yield Measurement(subject=thing.subject, metric="MACs", unit="10^6", runs=(thing.macs / 1e6,))
    yield higher("rate", "GMAC/s", rates, queries)
    if thing.peak and thing.peak.macs and (best := reports[thing.peak.subject]) and _on_processor(thing, mine[0]):
        limit = max(peak_rates(thing.peak.macs, best))
        yield higher("of peak", "%", (100 * rate / limit for rate in rates), queries)


def peak_measurements(peak: Thing, mine: Sequence[Report]) -> Iterator[Measurement]:
    """The figures of a peak. They describe the machine, and so none of them is better or worse."""
    rates, queries = peak_rates(peak.macs or 0, mine), min(report.queries for report in mine)
    yield Measurement(subject=peak.subject, metric="rate", unit="GMAC/s", runs=rates, n=queries)


def peak_rates(macs: int, reports: Sequence[Report]) -> tuple[float, ...]:
    """As ``mac_rates``, by the fastest query of each run: a limit is what was reached when nothing interfered."""
    return tuple(macs / report.fastest / 1e6 for report in reports)


def mac_rates(macs: int, reports: Sequence[Report]) -> tuple[float, ...]:
    """10^9 multiply-accumulates in a second, by the median query of each run."""
    return tuple(macs / report.latency["p50"] / 1e6 for report in reports)


def _on_processor(thing: Thing, report: Report) -> bool:
    """Whether the processor has done the work, so that its peak says something. onnxruntime may have used a GPU."""
    if thing.job.backend in DELEGATES:
        return False
    return FORMATS[thing.job.backend] == "tflite" or report.backend.endswith("(CPU)")


def _fault(reports: Sequence[Report], scenario: Scenario) -> str | None:
    faults = [fault for report in reports if (fault := report.fault(scenario))]
    return f"{len(faults)} of {len(reports)} runs: {faults[0]}" if faults else None


def _present(backends: Sequence[str], absent: dict[str, str]) -> Iterator[str]:
    """Each once, without those whose delegate is not here: that is said once, not for every file."""
    for backend in dict.fromkeys(backends):
        try:
            if backend in DELEGATES:
                check_delegate(DELEGATES[backend])
        except BackendUnavailable as error:
            absent[backend] = str(error)
        else:
            yield backend


def _things(
    models: Sequence[str],
    backends: Sequence[str],
    peaks: dict[tuple[str, int], Thing],
    threads: Sequence[int],
    scenario: Scenario,
    absent: dict[str, str],
) -> Iterator[Thing]:
    folders = [find_model(name).resolve() for name in models]
    if len({folder.name for folder in folders}) < len(folders):
        raise ConfigError(f"two models have the same folder name: {', '.join(models)}; rename one")
    for folder in folders:
        manifest = load_manifest(folder)
        for entry in manifest.files:
            checked_file(folder, entry)
            label = f"{folder.name}/{entry.file}"
            path = folder / entry.file
            macs = _macs(label, path, entry, absent)
            readable = entry.format == "tflite" and macs is not None
            activations = count_activations(path) if readable else None
            for backend, count in product(backends, threads):
                if FORMATS[backend] == entry.format:
                    peak = peaks.get((_arithmetic(entry), count))
                    job = Job(
                        folder=folder,
                        entry=entry,
                        input=manifest.input,
                        backend=backend,
                        threads=count,
                        scenario=scenario,
                    )
                    yield Thing(f"{label}, {backend}, {_threads(count)}", job, macs, peak, activations)


def _macs(label: str, path: Path, entry: ModelFile, absent: dict[str, str]) -> int | None:
    try:
        return count_macs(path, entry.format)
    except (ModelError, BackendUnavailable) as error:
        absent[f"MACs of {label}"] = str(error)
        return None


def _arithmetic(entry: ModelFile) -> Arithmetic:
    """What a file is computed in: weights in float16 become float32 first."""
    return "int8" if entry.precision == "int8" else "float32"


def _peaks(
    folder: Path, threads: Sequence[int], scenario: Scenario, absent: dict[str, str]
) -> dict[tuple[str, int], Thing]:
    """The peak of each arithmetic and number of threads."""
    peaks: dict[tuple[str, int], Thing] = {}
    arithmetics: tuple[Arithmetic, ...] = ("int8", "float32")
    for arithmetic in arithmetics:
        try:
            entry = write_peak_model(folder, arithmetic)
            macs = count_macs(folder / entry.file, entry.format)
        except (ModelError, BackendUnavailable) as error:
            absent[f"peak {arithmetic}"] = str(error)
            continue
        for count in threads:
            job = Job(folder=folder, entry=entry, input=INPUT, backend="tflite", threads=count, scenario=scenario)
            peaks[arithmetic, count] = Thing(f"peak {arithmetic}, {_threads(count)}", job, macs)
    return peaks


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count > 1)


def check_threads(threads: Sequence[int]) -> list[int]:
    """Each number once, in order. Raises ConfigError for more threads than this process has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if max(threads) > cores:
        raise ConfigError(f"--threads {max(threads)}: there are {cores} cores here")
    return sorted(set(threads))

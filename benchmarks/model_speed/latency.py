"""Latency of each file of a model, interleaved, in subprocesses, and its share of the machine's peak rate."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

from benchmarks.harness.interleave import interleave, run_module
from benchmarks.model_speed.machine_peak import INPUT, Arithmetic, write_peak_model
from benchmarks.model_speed.macs import count_activations, count_macs
from benchmarks.model_speed.worker import DELEGATES, FORMATS, Job, Report, Scenario
from benchmarks.results.results import Measurement, Result, measured, this_machine
from edge_emotion.backends.tflite import check_delegate
from edge_emotion.errors import BackendUnavailable, ConfigError, EdgeEmotionError, ModelError
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import ModelFile

BUILDING = 1800.0
"""Seconds that a subprocess may need beside its measurements: TensorRT builds an engine at the first start."""


@dataclass(frozen=True)
class MeasuredFile:
    """One subject of the benchmark: a job with its name. ``peak``: the peak that its rate is compared with.

    ``macs``: multiply-accumulates of one inference. ``activations``: bytes needed at once. None where unknown.
    """

    subject: str
    job: Job
    macs: int | None
    peak: MeasuredFile | None = None
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

    A round measures each subject once, so that disturbances meet all of them alike; ``show`` gets one line per run. The
    result lists what could not be measured. Raises ModelError for a bad model, ConfigError if there is nothing to
    measure, EdgeEmotionError if every measurement failed.
    """
    machine, absent = this_machine(), dict[str, str]()
    for line in machine.cautions:
        show(line)
    with tempfile.TemporaryDirectory() as folder:
        peaks = _peaks(Path(folder), threads, scenario, absent)
        present = list(available_backends(backends or list(FORMATS), absent))
        files = list(_measured_files(models, present, peaks, threads, scenario, absent))
        if not files:
            reasons = "".join(f"; {name}: {absent[name]}" for name in backends or () if name in absent)
            raise ConfigError(f"no file of {', '.join(models)} is read by {', '.join(backends or FORMATS)}{reasons}")
        needed = [peak for peak in peaks.values() if any(one_file.peak is peak for one_file in files)]
        reports = run_interleaved([*files, *needed], rounds, absent, show)
    kept = [one_file for one_file in files if reports[one_file.subject]]
    if not kept:
        raise EdgeEmotionError("nothing could be measured: " + "; ".join(f"{k}: {v}" for k, v in absent.items()))
    limits = [peak for peak in needed if reports[peak.subject]]
    return measured(
        "latency",
        [
            *(one for one_file in kept for one in latency_measurements(one_file, reports)),
            *(one for peak in limits for one in peak_measurements(peak, reports[peak.subject])),
        ],
        machine=machine,
        settings={"rounds": rounds, **scenario.model_dump()},
        artefacts={
            f"{one_file.job.folder.name}/{one_file.job.entry.file}": one_file.job.entry.sha256 for one_file in kept
        },
        invalid={one.subject: fault for one in kept + limits if (fault := _fault(reports[one.subject], scenario))},
        absent=absent,
        details={"backends": {one_file.subject: reports[one_file.subject][0].backend for one_file in kept}},
    )


def run_interleaved(
    files: Sequence[MeasuredFile], rounds: int, absent: dict[str, str], show: Callable[[str], None]
) -> dict[str, list[Report]]:
    """Subject -> reports of interleaved rounds; one that fails is not repeated and its reason goes to ``absent``."""
    runs = {one_file.subject: partial(run_job, one_file.job) for one_file in files}
    return interleave(runs, rounds, absent, show, lambda report: f"p50 {report.latency['p50']:.3f} ms")


def run_job(job: Job) -> Report:
    """Do one job in a subprocess. Raises EdgeEmotionError with the subprocess' last line on stderr."""
    patience = BUILDING + job.scenario.limit + job.scenario.seconds
    return Report.model_validate_json(run_module("benchmarks.model_speed.worker", job.model_dump_json(), patience))


def latency_measurements(one_file: MeasuredFile, reports: dict[str, list[Report]]) -> Iterator[Measurement]:
    """The measurements of one subject, from its reports and those of its peak."""
    mine = reports[one_file.subject]
    queries, batched = min(report.queries for report in mine), min(report.offline_n for report in mine)

    def lower(metric: str, unit: str, runs: Iterable[float], n: int = 1) -> Measurement:
        return Measurement(subject=one_file.subject, metric=metric, unit=unit, better="lower", runs=tuple(runs), n=n)

    def higher(metric: str, unit: str, runs: Iterable[float], n: int) -> Measurement:
        return Measurement(subject=one_file.subject, metric=metric, unit=unit, better="higher", runs=tuple(runs), n=n)

    for name in mine[0].latency:
        if all(name in report.latency for report in mine):
            yield lower(name, "ms", (report.latency[name] for report in mine), queries)
    yield higher("offline", "1/s", (report.offline for report in mine), batched)
    yield lower("load", "ms", (report.load for report in mine))
    yield lower("peak RSS", "MiB", (report.peak_rss for report in mine))
    yield lower("added RSS", "MiB", (report.peak_rss - report.base_rss for report in mine))
    yield lower("file", "KiB", (report.file_size / 1024 for report in mine))
    if one_file.activations is not None:
        yield lower("activations", "KiB", (one_file.activations / 1024,))
    if one_file.macs is None:
        return
    rates = mac_rates(one_file.macs, mine)
    yield Measurement(subject=one_file.subject, metric="MACs", unit="10^6", runs=(one_file.macs / 1e6,))
    yield higher("rate", "GMAC/s", rates, queries)
    if (
        one_file.peak
        and one_file.peak.macs
        and (best := reports[one_file.peak.subject])
        and ran_on_processor(one_file, mine[0])
    ):
        limit = max(peak_rates(one_file.peak.macs, best))
        yield higher("of peak", "%", (100 * rate / limit for rate in rates), queries)


def peak_measurements(peak: MeasuredFile, mine: Sequence[Report]) -> Iterator[Measurement]:
    """The measurements of a peak. They describe the machine, so none of them has a better direction."""
    rates, queries = peak_rates(peak.macs or 0, mine), min(report.queries for report in mine)
    yield Measurement(subject=peak.subject, metric="rate", unit="GMAC/s", runs=rates, n=queries)


def peak_rates(macs: int, reports: Sequence[Report]) -> tuple[float, ...]:
    """GMAC/s by the fastest query of each run: the upper limit is the rate reached without interference."""
    return tuple(macs / report.fastest / 1e6 for report in reports)


def mac_rates(macs: int, reports: Sequence[Report]) -> tuple[float, ...]:
    """GMAC/s (10^9 multiply-accumulates per second) by the median query of each run."""
    return tuple(macs / report.latency["p50"] / 1e6 for report in reports)


def ran_on_processor(one_file: MeasuredFile, report: Report) -> bool:
    """Whether the model ran on the processor, so that the processor's peak applies. onnxruntime may have used a GPU."""
    if one_file.job.backend in DELEGATES:
        return False
    return FORMATS[one_file.job.backend] == "tflite" or report.backend.endswith("(CPU)")


def _fault(reports: Sequence[Report], scenario: Scenario) -> str | None:
    faults = [fault for report in reports if (fault := report.fault(scenario))]
    return f"{len(faults)} of {len(reports)} runs: {faults[0]}" if faults else None


def available_backends(backends: Sequence[str], absent: dict[str, str]) -> Iterator[str]:
    """Each backend once, without those whose delegate is missing: ``absent`` names these once, not per file."""
    for backend in dict.fromkeys(backends):
        try:
            if backend in DELEGATES:
                check_delegate(DELEGATES[backend])
        except BackendUnavailable as error:
            absent[backend] = str(error)
        else:
            yield backend


def _measured_files(
    models: Sequence[str],
    backends: Sequence[str],
    peaks: dict[tuple[str, int], MeasuredFile],
    threads: Sequence[int],
    scenario: Scenario,
    absent: dict[str, str],
) -> Iterator[MeasuredFile]:
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
                    yield MeasuredFile(f"{label}, {backend}, {_threads(count)}", job, macs, peak, activations)


def _macs(label: str, path: Path, entry: ModelFile, absent: dict[str, str]) -> int | None:
    try:
        return count_macs(path, entry.format)
    except (ModelError, BackendUnavailable) as error:
        absent[f"MACs of {label}"] = str(error)
        return None


def _arithmetic(entry: ModelFile) -> Arithmetic:
    """The arithmetic that a file is computed in: float16 weights are converted to float32 first."""
    return "int8" if entry.precision == "int8" else "float32"


def _peaks(
    folder: Path, threads: Sequence[int], scenario: Scenario, absent: dict[str, str]
) -> dict[tuple[str, int], MeasuredFile]:
    """(arithmetic, threads) -> the peak to compare with."""
    peaks: dict[tuple[str, int], MeasuredFile] = {}
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
            peaks[arithmetic, count] = MeasuredFile(f"peak {arithmetic}, {_threads(count)}", job, macs)
    return peaks


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count > 1)


def check_threads(threads: Sequence[int]) -> list[int]:
    """``threads`` sorted, without repetitions. Raises ConfigError for more threads than this process has cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if max(threads) > cores:
        raise ConfigError(f"--threads {max(threads)}: there are {cores} cores here")
    return sorted(set(threads))

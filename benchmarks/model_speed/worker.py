"""``python -m benchmarks.model_speed.worker JOB``: one model file in a process of its own; prints a Report as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from pydantic import Field

from benchmarks.harness.process import peak_rss, pin
from benchmarks.results.results import quantiles
from edge_emotion.cli.terminal import run_command
from edge_emotion.factory.models import INTERPRETERS
from edge_emotion.models.folder import checked_file
from edge_emotion.models.manifest import InputSpec, ModelFile, Part
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import golden_inputs
from edge_emotion.protocols import FloatArray, InferenceBackend
from edge_emotion.system.telemetry import MIB, resident_bytes

PLAIN = "tflite-plain"
"""LiteRT without XNNPACK. The other backends are those of the runtime."""
DELEGATES = {"tflite-coral": "libedgetpu.so.1", "tflite-gpu": "libtensorflowlite_gpu_delegate.so"}
"""LiteRT with the delegate of this library: an Edge TPU, the GPU of a board. Few have one; nobody ships it."""
FORMATS = dict.fromkeys((PLAIN, *DELEGATES), "tflite") | {name: one.format for name, one in INTERPRETERS.items()}
"""What each backend reads."""
SAMPLES = 32
"""Different inputs, which are asked about again and again in the order that the seed gives."""
WARM_UP = 32
"""Queries that do not count."""


class Scenario(Part):
    """How a file is measured, after MLPerf Inference (Reddi et al. 2020).

    Single stream: one query after the other, until there are ``queries`` and ``seconds`` have passed; a run that is
    not there after ``limit`` seconds ends and is invalid. Offline: batches of ``batch``, for ``seconds``.
    """

    queries: int = 1024
    seconds: float = 2.0
    limit: float = 60.0
    batch: int = 8
    seed: int = 0


class Job(Part):
    """One file of a model folder, what runs it, and how."""

    folder: Path
    entry: ModelFile
    input: InputSpec
    backend: str
    threads: int = Field(ge=1)
    scenario: Scenario


class Report(Part):
    """What one process has found: ``latency`` in ms by quantile, ``offline`` in inferences/s.

    Memory is in MiB, ``base_rss`` that before the interpreter was imported; ``file_size`` is in bytes. ``load`` is the
    time in ms from nothing to a backend that has answered once, its library's import included.
    """

    backend: str
    load: float
    latency: dict[str, float]
    fastest: float
    queries: int
    seconds: float
    offline: float
    offline_n: int
    base_rss: float
    peak_rss: float
    file_size: int

    def fault(self, scenario: Scenario) -> str | None:
        """Why the run is INVALID, None if it is VALID."""
        if self.queries >= scenario.queries and self.seconds >= scenario.seconds:
            return None
        return (
            f"{self.queries} of {scenario.queries} queries in {self.seconds:.3g} of at least {scenario.seconds:g} s, "
            f"ended by the limit of {scenario.limit:g} s"
        )


def make_backend(job: Job, path: Path) -> InferenceBackend:
    """The job's interpreter with its file. Raises ModelError or BackendUnavailable."""
    if job.backend == PLAIN or job.backend in DELEGATES:
        from edge_emotion.backends.tflite import TfliteBackend

        delegate = DELEGATES.get(job.backend)
        return TfliteBackend(path, threads=job.threads, plain_kernels=job.backend == PLAIN, delegate=delegate)
    return INTERPRETERS[job.backend].make(path, job.entry, job.threads)


def measure(job: Job) -> Report:
    """Do the job in this process, which is then pinned to as many cores as it has threads."""
    pin(job.threads)
    path, scenario = checked_file(job.folder, job.entry), job.scenario
    seeds = range(scenario.seed * SAMPLES, (scenario.seed + 1) * SAMPLES)
    samples = normalise(golden_inputs(job.input, seeds), job.input)
    base_rss = resident_bytes() / MIB
    begin = perf_counter()
    backend = make_backend(job, path)
    backend.run(samples[:1])
    load = perf_counter() - begin
    times, took = single_stream(backend.run, samples, scenario)
    peak = peak_rss()  # before there are batches, which need more
    batches, offline_took = offline(backend.run, samples, scenario)
    return Report(
        backend=backend.name,
        load=1000 * load,
        latency={name: 1000 * value for name, value in quantiles(times).items()},
        fastest=1000 * min(times),
        queries=len(times),
        seconds=took,
        offline=batches * scenario.batch / offline_took,
        offline_n=batches * scenario.batch,
        base_rss=base_rss,
        peak_rss=peak,
        file_size=path.stat().st_size,
    )


def single_stream(
    run: Callable[[FloatArray], object], samples: FloatArray, scenario: Scenario
) -> tuple[list[float], float]:
    """The seconds of each query, floats in to floats out, and of all of them."""
    order = np.random.default_rng(scenario.seed).permutation(len(samples))
    queries = [samples[index : index + 1] for index in order]
    for n in range(WARM_UP):
        run(queries[n % len(queries)])
    times: list[float] = []
    start = perf_counter()
    while True:
        begin = perf_counter()
        run(queries[len(times) % len(queries)])
        now = perf_counter()
        times.append(now - begin)
        enough = len(times) >= scenario.queries and now - start >= scenario.seconds
        if enough or now - start >= scenario.limit:
            return times, now - start


def offline(run: Callable[[FloatArray], object], samples: FloatArray, scenario: Scenario) -> tuple[int, float]:
    """How many batches were answered, and in how many seconds. The first one does not count."""
    batch = samples[np.arange(scenario.batch) % len(samples)]
    run(batch)
    start = perf_counter()
    done, took = 0, 0.0
    while took < scenario.seconds:
        run(batch)
        done, took = done + 1, perf_counter() - start
    return done, took


def _command(options: argparse.Namespace) -> None:
    print(measure(Job.model_validate_json(options.job)).model_dump_json())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_speed.worker", description="One model file, measured."
    )
    parser.add_argument("job", help="as JSON")
    parser.set_defaults(command=_command, debug=False)
    sys.exit(run_command(parser.parse_args()))

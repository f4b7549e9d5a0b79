"""``python -m benchmarks.model_speed.worker JOB``: measure one model file in this process; prints a Report as JSON."""

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
from edge_emotion.factory.interpreters import INTERPRETERS
from edge_emotion.models.folder import checked_file
from edge_emotion.models.manifest import InputSpec, ModelFile, Part
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import self_test_inputs
from edge_emotion.protocols import FloatArray, InferenceBackend
from edge_emotion.system.telemetry import MIB, resident_bytes

PLAIN = "tflite-plain"
"""LiteRT without XNNPACK, by this name. The other backends are those of the runtime."""
DELEGATES = {"tflite-coral": "libedgetpu.so.1", "tflite-gpu": "libtensorflowlite_gpu_delegate.so"}
"""LiteRT with the delegate in this shared library: an Edge TPU, or a board's GPU. LiteRT does not contain them."""
FORMATS = dict.fromkeys((PLAIN, *DELEGATES), "tflite") | {name: one.format for name, one in INTERPRETERS.items()}
"""Backend -> file format that it reads."""
SAMPLES = 32
"""Number of different inputs, which are repeated in the order that the seed gives."""
WARM_UP = 32
"""Queries before the measurement, which do not count."""


class Scenario(Part):
    """Parameters of the measurement of one file, after MLPerf Inference (Reddi et al. 2020).

    Single stream: one query after the other, until ``queries`` were answered and ``seconds`` have passed; after
    ``limit`` seconds the run is ended and invalid. Offline: batches of ``batch`` inputs, for ``seconds``.
    """

    queries: int = 1024
    seconds: float = 2.0
    limit: float = 60.0
    batch: int = 8
    seed: int = 0


class Job(Part):
    """One file of a model folder, the backend and number of threads to run it with, and the scenario."""

    folder: Path
    entry: ModelFile
    input: InputSpec
    backend: str
    threads: int = Field(ge=1)
    scenario: Scenario


class Report(Part):
    """The figures of one process: ``latency`` in ms by quantile, ``offline`` in inferences/s.

    Memory is in MiB, ``base_rss`` measured before the interpreter is imported; ``file_size`` is in bytes. ``load`` is
    the time in ms until a backend has answered its first query, the import of its library included.
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
        """The reason why the run is INVALID, None if it is VALID."""
        if self.queries >= scenario.queries and self.seconds >= scenario.seconds:
            return None
        return (
            f"{self.queries} of {scenario.queries} queries in {self.seconds:.3g} of at least {scenario.seconds:g} s, "
            f"ended by the limit of {scenario.limit:g} s"
        )


def make_backend(job: Job, path: Path) -> InferenceBackend:
    """The job's backend with its file loaded. Raises ModelError or BackendUnavailable."""
    if job.backend == PLAIN or job.backend in DELEGATES:
        from edge_emotion.backends.tflite import TfliteBackend

        delegate = DELEGATES.get(job.backend)
        return TfliteBackend(path, threads=job.threads, plain_kernels=job.backend == PLAIN, delegate=delegate)
    return INTERPRETERS[job.backend].make(path, job.entry, job.threads)


def measure_model_file(job: Job) -> Report:
    """Do the job in this process, which is first pinned to as many cores as the job has threads."""
    pin(job.threads)
    path, scenario = checked_file(job.folder, job.entry), job.scenario
    seeds = range(scenario.seed * SAMPLES, (scenario.seed + 1) * SAMPLES)
    samples = normalise(self_test_inputs(job.input, seeds), job.input)
    base_rss = resident_bytes() / MIB
    begin = perf_counter()
    backend = make_backend(job, path)
    backend.run(samples[:1])
    load = perf_counter() - begin
    times, took = single_stream(backend.run, samples, scenario)
    peak = peak_rss()  # before the batches, which need more memory
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
    """Seconds of each query, from float input to float output, and of all queries together."""
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
    """Number of batches answered, and the seconds they took. The first batch warms up and does not count."""
    batch = samples[np.arange(scenario.batch) % len(samples)]
    run(batch)
    start = perf_counter()
    done, took = 0, 0.0
    while took < scenario.seconds:
        run(batch)
        done, took = done + 1, perf_counter() - start
    return done, took


def _command(options: argparse.Namespace) -> None:
    print(measure_model_file(Job.model_validate_json(options.job)).model_dump_json())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.model_speed.worker", description="Measure one model file."
    )
    parser.add_argument("job", help="a Job as JSON")
    parser.set_defaults(command=_command, debug=False)
    sys.exit(run_command(parser.parse_args()))

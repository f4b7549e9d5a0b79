"""``python -m benchmarks.pipeline_speed.pipeline_worker JOB``: one part of the pipeline, measured.

Runs in a process of its own and prints a Run as JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from benchmarks.harness.drift import drift
from benchmarks.harness.process import pin
from benchmarks.pipeline_speed.plan import Plan
from benchmarks.pipeline_speed.publisher import Publisher, usual_event
from benchmarks.pipeline_speed.runs import Run, in_ms
from benchmarks.pipeline_speed.scenes import read_video
from benchmarks.pipeline_speed.single_core import measure_line
from edge_emotion.cli.terminal import run_command
from edge_emotion.config.loader import load
from edge_emotion.config.settings import CameraSettings
from edge_emotion.errors import SourceEnded
from edge_emotion.factory.cameras import make_source
from edge_emotion.models.manifest import Part
from edge_emotion.mqtt.local_broker import HOST
from edge_emotion.protocols import FrameSource

LEAST = 20
"""Events, at least, however short the time is."""
PAUSE = 0.02
"""Seconds between two events: each finds the client at rest."""


Kind = Literal["read", "line", "publish"]


class Job(Part):
    """What to measure of a plan.

    ``read``: how long a frame of ``scene`` takes to read. ``line``: everything between a frame with ``faces`` faces and
    its events, which go to the broker at ``port`` of this machine, if there is one. ``publish``: events to that broker.
    """

    kind: Kind
    scene: Path
    faces: int
    port: int | None
    plan: Plan


def measure(job: Job, folder: Path) -> Run:
    """Do the job in this process, which is then pinned to one core. ``folder`` is for its state."""
    pin(1)
    cv2.setNumThreads(1)
    if job.kind == "read":
        return measure_reading(job)
    if job.kind == "publish":
        return measure_publishing(job, folder)
    broker = {"mqtt": {"host": HOST, "port": job.port}} if job.port else {"jsonl": {"path": "/dev/null"}}
    settings = load(
        None,
        {
            "node": "benchmark",
            "cameras": {"clip": {"source": str(job.scene), "realtime": False}},
            "state_dir": str(folder),
            **broker,
            **job.plan.hardest,
        },
        environment=False,
    )
    images = list(read_video(job.scene))
    return measure_line(settings, images, job.faces, seconds=job.plan.seconds, settle=job.plan.settle)


def measure_reading(job: Job) -> Run:
    """A frame from the daemon's own source, and from OpenCV, which is what decodes it there, in turns.

    Whether that was steady is told by whole passes through the scene, whose frames differ.
    """
    source = make_source(CameraSettings(source=str(job.scene), realtime=False))
    rows: list[tuple[float, float]] = []
    passes: list[float] = []
    start = began = time.monotonic()
    while time.monotonic() - start < job.plan.settle + job.plan.seconds or not passes:
        if not passes:
            began = time.monotonic()
        read = list(_pass(source, job.scene))
        if began - start >= job.plan.settle:
            rows += read
            passes.append(sum(map(sum, read)))
    whole, decoding = np.array(rows).T
    return Run(
        stages=in_ms({"capture": whole, "decode": decoding}),
        n=len(rows),
        began=began,
        ended=time.monotonic(),
        drift=drift(passes),
    )


def _pass(source: FrameSource, scene: Path) -> Iterator[tuple[float, float]]:
    """Seconds that each frame took to come from the source, and to be decoded."""
    source.open()
    source.read()  # has come with opening
    capture = cv2.VideoCapture(str(scene))
    capture.read()
    with suppress(SourceEnded):
        while True:
            begin = time.perf_counter()
            source.read()
            between = time.perf_counter()
            capture.read()
            yield between - begin, time.perf_counter() - between
    source.close()
    capture.release()


def measure_publishing(job: Job, folder: Path) -> Run:
    """From the hand-over of an event to the broker's acknowledgement, through outbox and client."""
    assert job.port is not None
    rows: list[tuple[float, float]] = []
    with Publisher(usual_event(), folder, job.port) as publisher:
        start = began = time.monotonic()
        while time.monotonic() - start < job.plan.settle + job.plan.seconds or len(rows) < LEAST:
            row = publisher.deliver()
            if time.monotonic() - start >= job.plan.settle:
                began = began if rows else time.monotonic()
                rows.append(row)
            time.sleep(PAUSE)
    kept, acknowledged = np.array(rows).T
    return Run(
        stages=in_ms({"hand-over": kept, "PUBACK": acknowledged}),
        n=len(rows),
        began=began,
        ended=time.monotonic(),
        drift=drift(acknowledged),
    )


def _command(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(measure(Job.model_validate_json(options.job), Path(folder)).model_dump_json())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline_speed.pipeline_worker", description="One part of the path."
    )
    parser.add_argument("job", help="as JSON")
    parser.set_defaults(command=_command, debug=False)
    sys.exit(run_command(parser.parse_args()))

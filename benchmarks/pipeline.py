"""The straight line from frame to event, stage by stage, on a clip: one thread on one core, decoding apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np

from benchmarks.process import pin
from benchmarks.results import Measurement, Result, measured, quantiles, this_machine
from edge_emotion.config import PolicySettings, TrackingSettings
from edge_emotion.datatypes import Frame, Image
from edge_emotion.errors import SourceError
from edge_emotion.factory import make_pipeline
from edge_emotion.loading import make_classifier, make_detector
from edge_emotion.pipeline import Pipeline
from edge_emotion.protocols import FaceDetector

WARM_UP = 20
STAGES = ("decode", "detect", "track", "classify", "decide", "total")


def measure_pipeline(
    clip: Path, *, seconds: float, detector: str, model: str, size: tuple[int, int] = (640, 480)
) -> Result:
    """Time every stage on those frames of ``clip`` that show exactly one face, over and over for ``seconds``.

    Every frame is detected and classified: the hardest case. The result holds ms per stage, and frames per
    second without decoding. Raises SourceError if the clip has no such frame.
    """
    machine, cores = this_machine(), pin(1)
    cv2.setNumThreads(1)
    images, decoding = _decode(clip, size)
    finder = make_detector(detector)
    images = [image for image in images if len(finder.detect(image)) == 1]
    if not images:
        raise SourceError(f"{clip} has no frame with exactly one face")
    pipeline = _pipeline(finder, model)
    rows = _run(pipeline, images, seconds)
    stages = dict(zip(STAGES, [decoding, *rows.T], strict=True))
    fps = len(rows) / (rows[:, -1].sum() / 1000)
    settings = {"clip": clip.name, "size": list(size), "faces": 1, "detector": detector, "model": model}
    return measured(
        "pipeline",
        [
            *(one for stage, values in stages.items() for one in _measurements(stage, values)),
            Measurement(subject="total", metric="fps", unit="1/s", better="higher", runs=(float(fps),), n=len(rows)),
        ],
        machine=machine,
        settings={**settings, "seconds": seconds, "threads": 1, "pinned_to_cores": cores},
    )


def _measurements(stage: str, values: np.ndarray[Any, Any]) -> list[Measurement]:
    return [
        Measurement(subject=stage, metric=name, unit="ms", better="lower", runs=(value,), n=len(values))
        for name, value in quantiles(values).items()
    ]


def _decode(clip: Path, size: tuple[int, int]) -> tuple[list[Image], np.ndarray[Any, Any]]:
    """All frames in the wanted size, and the ms that each took to decode."""
    capture, images, times = cv2.VideoCapture(str(clip)), [], []
    while True:
        begin = perf_counter()
        ok, image = capture.read()
        if not ok:
            break
        times.append((perf_counter() - begin) * 1000)
        images.append(np.asarray(cv2.resize(image, size) if image.shape[1::-1] != size else image, np.uint8))
    capture.release()
    return images, np.array(times)


def _pipeline(detector: FaceDetector, model: str) -> Pipeline:
    return make_pipeline(
        "benchmark",
        "clip",
        detector,
        make_classifier(model),
        tracking=TrackingSettings(),
        policy=PolicySettings(),
        interval=0.0,
        next_seq=count(1).__next__,
    )


def _run(pipeline: Pipeline, images: Sequence[Image], seconds: float) -> np.ndarray[Any, Any]:
    """N x 5 ms: detect, track, classify, decide, total."""
    rows: list[tuple[float, ...]] = []
    start = datetime.now(timezone.utc)
    end = perf_counter() + seconds
    while perf_counter() < end or len(rows) <= WARM_UP:
        second = len(rows) / 15
        frame = Frame(images[len(rows) % len(images)], second, start + timedelta(seconds=second), len(rows))
        begin = perf_counter()
        pipeline.process(frame)
        total = perf_counter() - begin
        times = pipeline.times
        assert times is not None  # every frame is looked at
        rows.append((times.detect, times.track, times.classify, times.decide, total))
    return np.array(rows[WARM_UP:]) * 1000

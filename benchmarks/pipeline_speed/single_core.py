"""The daemon's pipeline on one core, frame by frame, against its models alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from benchmarks.harness.drift import drift
from benchmarks.harness.video_loop import forward_and_backward
from benchmarks.pipeline_speed.runs import Run, in_ms
from edge_emotion.config.settings import CameraSettings, Settings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.camera_stats import CameraMeter
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.overrides import CameraOverrides
from edge_emotion.datatypes import Frame, Image
from edge_emotion.errors import EdgeEmotionError, SourceEnded
from edge_emotion.factory.cameras import CameraMaker
from edge_emotion.factory.models import fastest_precision, make_models
from edge_emotion.factory.sinks import make_sinks
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import StageTimes
from edge_emotion.protocols import FloatArray, InferenceBackend, ModelInput

ALONE = "models alone"
STAGES = ("detect", "track", "align", "classify", "decide", "publish", "total", ALONE)
MAX_FPS = CameraSettings(source="0").max_fps
"""Frame rate of the timestamps: the daemon's limit. At higher rates fewer whole frames would be searched for faces."""
WARM_UP = 20
"""Frames at least before counting starts."""


def measure_single_core(
    settings: Settings, images: Sequence[Image], faces: int, *, seconds: float, settle: float
) -> Run:
    """Run the daemon on ``images``, each as soon as the one before is done, for ``seconds`` after ``settle`` seconds.

    ``settings`` have one camera, whose source is not used. Only frames in which exactly ``faces`` faces were classified
    count; raises EdgeEmotionError if there are none.
    """
    models = make_models(settings)
    detector, classifier = models.detector, models.classifier
    finders = models.finders
    finding, classifying = [RecordingBackend(one.backend) for one in finders], RecordingBackend(classifier.backend)
    for finder, backend in zip(finders, finding, strict=True):
        finder.backend = backend
    classifier.backend = classifying
    changed, numbers = threading.Condition(), EventCounter(settings.state_path, settings.node)
    name = next(iter(settings.cameras))
    source = SteppedSource(images, seconds=seconds, settle=settle)
    recorder = StageRecorder(source, finding, classifying, faces)
    pipeline = CameraMaker(models, numbers, changed).pipeline(settings, name, CameraOverrides())
    camera = Camera(Capture(name, source, changed, max_fps=240, lossless=True), pipeline, meter=recorder)
    Daemon([camera], make_sinks(settings, classifier, detector, numbers), changed, numbers).run()
    if not recorder.rows:
        raise EdgeEmotionError(f"of none of {source.given} frames {faces} faces were classified at once")
    used = ((one.manifest, one.manifest.file(fastest_precision(one.manifest.name))) for one in finders)
    files = {f"{manifest.name}/{entry.file}": entry.sha256 for manifest, entry in used}
    files[f"{classifier.manifest.name}/{classifier.entry.file}"] = classifier.entry.sha256
    without_call = [one.name for one in (*finding, classifying) if not one.bare]
    absent = {"overhead": f"{without_call[0]} has no call of the model alone"} if without_call else {}
    return run_from_stage_times(
        np.array(recorder.rows), began=recorder.began, ended=recorder.ended, artefacts=files, absent=absent
    )


def run_from_stage_times(rows: np.ndarray[Any, Any], **others: Any) -> Run:
    """A run from the seconds of each stage, N x len(STAGES); NaN for models that cannot be called alone.

    ``overhead``: median of each frame's total time over the time of its models alone. Drift is measured on the models
    alone where possible, since their time hardly varies from frame to frame. ``others`` are fields of Run.
    """
    stages = {stage: column for stage, column in zip(STAGES, rows.T, strict=True) if not np.isnan(column).any()}
    total, alone = stages["total"], stages.get(ALONE)
    figures = {"fps": float(len(total) / total.sum())}
    if alone is not None:
        figures["overhead"] = float(np.median(total / alone))
    return Run(
        stages=in_ms(stages), figures=figures, n=len(rows), drift=drift(total if alone is None else alone), **others
    )


class RecordingBackend:
    """Backend that records its inputs, to run the model alone on the same inputs afterwards."""

    def __init__(self, inner: InferenceBackend) -> None:
        self._inner = inner
        self.name, self.input_shape, self.output_shapes = inner.name, inner.input_shape, inner.output_shapes
        self.bare = getattr(inner, "bare_call", None)
        """Callable batch -> call of the model alone, None if the backend has none."""
        self.given: list[ModelInput] = []

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """As the wrapped backend."""
        self.given.append(batch)
        return self._inner.run(batch)

    def close(self) -> None:
        """As the wrapped backend."""
        self._inner.close()

    def alone(self) -> float:
        """Seconds of the model alone on the recorded inputs, one after the other, already in the model's own form."""
        if self.bare is None:
            return float("nan")
        seconds = 0.0
        for batch in self.given:
            for n in range(len(batch)):
                call = self.bare(batch[n : n + 1])
                begin = time.perf_counter()
                call()
                seconds += time.perf_counter() - begin
        return seconds

    def forget(self) -> int:
        """Delete the recorded inputs; returns how many there were."""
        inputs = sum(map(len, self.given))
        self.given.clear()
        return inputs


class SteppedSource:
    """A finite source that delivers one frame per call of ``next``, so that capturing never runs beside other stages.

    It ends ``seconds`` after the ``settle`` seconds, but not before every image was counted once.
    """

    live = False

    def __init__(self, images: Sequence[Image], *, seconds: float, settle: float) -> None:
        self._images, self._seconds, self._settle = forward_and_backward(images), seconds, settle
        self.permits = threading.Semaphore()
        """One permit for each frame that ``read`` may deliver."""
        self._start, self._captured_at = time.monotonic(), datetime.now(timezone.utc)
        self._closed = False
        self.given = 0

    @property
    def counting(self) -> bool:
        """Whether the frame delivered last counts."""
        return self.given > WARM_UP and time.monotonic() - self._start >= self._settle

    def open(self) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def next(self) -> None:
        """Allow the next frame: the one before is done."""
        self.permits.release()

    def read(self) -> Frame:
        """As in FrameSource."""
        self.permits.acquire()
        over = time.monotonic() - self._start >= self._settle + self._seconds
        if self._closed or (over and self.given >= WARM_UP + len(self._images)):
            raise SourceEnded("the time is over")
        second, image = self.given / MAX_FPS, self._images[self.given % len(self._images)]
        # A copy, because a decoder has just written its frame: an old one would first have to be fetched from memory.
        frame = Frame(image.copy(), self._start + second, self._captured_at + timedelta(seconds=second), self.given)
        self.given += 1
        return frame

    def close(self) -> None:
        """As in FrameSource."""
        self._closed = True
        self.permits.release()


class StageRecorder(CameraMeter):
    """Camera meter that keeps the stage times of each frame and then times the models alone on the same inputs."""

    def __init__(
        self, source: SteppedSource, finding: Sequence[RecordingBackend], classifying: RecordingBackend, faces: int
    ) -> None:
        super().__init__()
        self._source, self._finding, self._classifying, self._faces = source, finding, classifying, faces
        self.rows: list[tuple[float, ...]] = []
        """Seconds by stage, in the order of STAGES."""
        self.began = self.ended = time.monotonic()

    def add_frame(self, times: StageTimes | None, latency: float) -> None:
        """As in CameraMeter."""
        alone = sum(one.alone() for one in (*self._finding, self._classifying))
        for one in self._finding:
            one.forget()
        complete = self._classifying.forget() == self._faces
        if times is not None and complete and self._source.counting:
            stages = times.detect, times.track, times.align, times.classify, times.decide
            self.began = self.began if self.rows else time.monotonic()
            self.rows.append((*stages, latency - sum(stages), latency, alone))
        self.ended = time.monotonic()
        self._source.next()

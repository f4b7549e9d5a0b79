"""The daemon's straight line on one core, frame by frame, and its models alone beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np

from benchmarks.harness.drift import drift
from benchmarks.harness.video_loop import to_and_fro
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
from edge_emotion.factory.models import make_models
from edge_emotion.factory.sinks import make_sinks
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import StageTimes
from edge_emotion.protocols import FloatArray, InferenceBackend, ModelInput

ALONE = "models alone"
STAGES = ("detect", "track", "align", "classify", "decide", "publish", "total", ALONE)
MAX_FPS = CameraSettings(source="0").max_fps
"""Frames are as far apart as the daemon lets them be: the more often they came, the fewer would be looked at whole."""
WARM_UP = 20
"""Frames at least that do not count."""


def measure_line(settings: Settings, images: Sequence[Image], faces: int, *, seconds: float, settle: float) -> Run:
    """Run the daemon on ``images``, each as soon as the last one is done, for ``seconds`` after ``settle``.

    ``settings`` name one camera, whose source is not used. Counted are the frames of which ``faces`` faces were
    classified; raises EdgeEmotionError if there are none.
    """
    models = make_models(settings)
    detector, classifier = models.detector, models.classifier
    finders = [one for one in (detector, models.near) if one is not None]
    looked, judged = [Remembering(one.backend) for one in finders], Remembering(classifier.backend)
    for finder, backend in zip(finders, looked, strict=True):
        finder.backend = backend
    classifier.backend = judged
    changed, numbers = threading.Condition(), EventCounter(settings.state_path, settings.node)
    name = next(iter(settings.cameras))
    feed = Feed(images, seconds=seconds, settle=settle)
    recorder = Recorder(feed, looked, judged, faces)
    pipeline = CameraMaker(models, numbers, changed).pipeline(settings, name, CameraOverrides())
    camera = Camera(Capture(name, feed, changed, max_fps=240, lossless=True), pipeline, meter=recorder)
    Daemon([camera], make_sinks(settings, classifier, detector, numbers), changed, numbers).run()
    if not recorder.rows:
        raise EdgeEmotionError(f"of none of {feed.given} frames {faces} faces were classified at once")
    files = {f"{one.manifest.name}/{entry.file}": entry.sha256 for one in finders for entry in [one.manifest.file()]}
    files[f"{classifier.manifest.name}/{classifier.entry.file}"] = classifier.entry.sha256
    mute = [one.name for one in (*looked, judged) if not one.bare]
    absent = {"overhead": f"{mute[0]} gives no call of the model alone"} if mute else {}
    return summarise(
        np.array(recorder.rows), began=recorder.began, ended=recorder.ended, artefacts=files, absent=absent
    )


def summarise(rows: np.ndarray[Any, Any], **others: Any) -> Run:
    """A run from the seconds of each stage, N x len(STAGES), not a number for models that cannot be called alone.

    ``overhead`` is the median of each frame's total over its models alone, which also tell best whether the run was
    steady: from frame to frame their work hardly changes. ``others`` are fields of Run.
    """
    stages = {stage: column for stage, column in zip(STAGES, rows.T, strict=True) if not np.isnan(column).any()}
    total, alone = stages["total"], stages.get(ALONE)
    figures = {"fps": float(len(total) / total.sum())}
    if alone is not None:
        figures["overhead"] = float(np.median(total / alone))
    return Run(
        stages=in_ms(stages), figures=figures, n=len(rows), drift=drift(total if alone is None else alone), **others
    )


class Remembering:
    """A backend that remembers what it was given, to give it to the model alone afterwards."""

    def __init__(self, inner: InferenceBackend) -> None:
        self._inner = inner
        self.name, self.input_shape, self.output_shapes = inner.name, inner.input_shape, inner.output_shapes
        self.bare = getattr(inner, "bare_call", None)
        """The model alone, if the backend has a way to call it: batch -> call."""
        self.given: list[ModelInput] = []

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """As the backend within."""
        self.given.append(batch)
        return self._inner.run(batch)

    def close(self) -> None:
        """As the backend within."""
        self._inner.close()

    def alone(self) -> float:
        """Seconds that the model alone takes for what it was given, one after the other, already in its own form."""
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
        """Forget what it was given: how many inputs these were."""
        inputs = sum(map(len, self.given))
        self.given.clear()
        return inputs


class Feed:
    """A finite source that gives a frame when ``next`` is called: capturing then never happens beside the rest.

    It ends after ``seconds`` after ``settle``, but not before each image was counted once.
    """

    live = False

    def __init__(self, images: Sequence[Image], *, seconds: float, settle: float) -> None:
        self._images, self._seconds, self._settle = to_and_fro(images), seconds, settle
        self._wanted = threading.Semaphore()
        self._start, self._captured_at = time.monotonic(), datetime.now(timezone.utc)
        self._closed = False
        self.given = 0

    @property
    def counting(self) -> bool:
        """True when the last frame that was given is to be counted."""
        return self.given > WARM_UP and time.monotonic() - self._start >= self._settle

    def open(self) -> None:
        """Let the time begin."""
        self._start = time.monotonic()

    def next(self) -> None:
        """The last frame is done."""
        self._wanted.release()

    def read(self) -> Frame:
        """As in FrameSource."""
        self._wanted.acquire()
        over = time.monotonic() - self._start >= self._settle + self._seconds
        if self._closed or (over and self.given >= WARM_UP + len(self._images)):
            raise SourceEnded("the time is over")
        second, image = self.given / MAX_FPS, self._images[self.given % len(self._images)]
        # A decoder has just written what it gives: a picture of long ago would first have to come from memory.
        frame = Frame(image.copy(), self._start + second, self._captured_at + timedelta(seconds=second), self.given)
        self.given += 1
        return frame

    def close(self) -> None:
        """As in FrameSource."""
        self._closed = True
        self._wanted.release()


class Recorder(CameraMeter):
    """Keeps what the daemon measures of each frame, and calls the models alone on the same inputs, right after it."""

    def __init__(self, feed: Feed, looked: Sequence[Remembering], judged: Remembering, faces: int) -> None:
        super().__init__()
        self._feed, self._looked, self._judged, self._faces = feed, looked, judged, faces
        self.rows: list[tuple[float, ...]] = []
        """As in STAGES."""
        self.began = self.ended = time.monotonic()

    def took(self, times: StageTimes | None, latency: float) -> None:
        """As in CameraMeter."""
        alone = sum(one.alone() for one in (*self._looked, self._judged))
        for one in self._looked:
            one.forget()
        complete = self._judged.forget() == self._faces
        if times is not None and complete and self._feed.counting:
            stages = times.detect, times.track, times.align, times.classify, times.decide
            self.began = self.began if self.rows else time.monotonic()
            self.rows.append((*stages, latency - sum(stages), latency, alone))
        self.ended = time.monotonic()
        self._feed.next()

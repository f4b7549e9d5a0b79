"""The state of a camera in the main loop, and the summary of a run."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_emotion.daemon.camera_stats import CameraMeter
from edge_emotion.daemon.capture import Capture, Status
from edge_emotion.daemon.face_histograms import FaceHistograms
from edge_emotion.datatypes import CameraState
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.system.backoff import Jitter
from edge_emotion.wire.hours import hour_to_object

KEPT_LATENCIES = 10_000


@dataclass
class Camera:
    """One camera in the main loop: its capture thread, its pipeline, the state that was published last.

    A ``disabled`` camera is not opened and not processed.
    """

    capture: Capture
    pipeline: Pipeline
    status: Status = "opening"
    losses: int = 0
    captured: float = 0.0
    """Monotonic seconds of the last processed frame."""
    state: CameraState | None = None
    state_at: float = 0.0
    jitter: Jitter = field(default_factory=Jitter)
    meter: CameraMeter = field(default_factory=CameraMeter)
    histograms: FaceHistograms = field(default_factory=FaceHistograms)

    @property
    def name(self) -> str:
        """The camera's name in topics."""
        return self.capture.name

    def report(self, seconds: float) -> dict[str, Any]:
        """Its part of the topic ``stats``, for the last ``seconds``."""
        hour = self.histograms.last()
        figures = {"status": self.status, **self.meter.report(self.capture, seconds)}
        return figures if hour is None else figures | {"hour": hour_to_object(hour)}

    @property
    def has_news(self) -> bool:
        """True if there is a new frame or a new status for the main loop."""
        return self.status != "disabled" and (self.capture.slot.full or self.capture.status != self.status)


@dataclass
class Summary:
    """Counts of a run; ``latencies`` are the newest ones, from capture to hand-over of a frame's events, in ms."""

    frames: int = 0
    events: int = 0
    seconds: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))

    def __str__(self) -> str:
        if not self.frames:
            return "no frame was processed"
        p50, p90 = np.quantile(self.latencies, (0.5, 0.9))
        fps = self.frames / self.seconds if self.seconds else 0.0
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({fps:.1f} fps), "
            f"latency p50 {p50:.1f} ms, p90 {p90:.1f} ms, {self.events} events"
        )

"""Figures of the last interval for the topic ``stats``: what the cameras gave and how long each stage took."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from edge_emotion.daemon.capture import Capture
from edge_emotion.pipeline.pipeline import StageTimes

KEPT = 10_000
"""Frames at most of which an interval keeps the times."""

STAGES = ("detect", "track", "classify", "decide", "latency")
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class CameraMeter:
    """Counts of one camera since the last report."""

    def __init__(self) -> None:
        self._rows: deque[tuple[float, ...]] = deque(maxlen=KEPT)
        self._processed = 0
        self._capture: Capture | None = None
        self._captured = self._dropped = 0

    def took(self, times: StageTimes | None, latency: float) -> None:
        """A frame was processed; seconds, ``latency`` from its capture to the hand-over of its events.

        No times: it was not looked at, because nobody is there.
        """
        self._processed += 1
        if times is not None:
            classify = times.align + times.classify  # one stage of the contract, docs/reference/mqtt.md
            self._rows.append((times.detect, times.track, classify, times.decide, latency))

    def report(self, capture: Capture, seconds: float) -> dict[str, Any]:
        """Frames per second over the last ``seconds``, losses since the camera's start, ms of each stage."""
        if capture is not self._capture:  # a new one counts from 0
            self._capture, self._captured, self._dropped = capture, 0, 0
        frames, dropped = capture.frames, capture.slot.dropped
        figures = {
            "capture_fps": round((frames - self._captured) / seconds, 2),
            "processed_fps": round(self._processed / seconds, 2),
            "dropped_fps": round((dropped - self._dropped) / seconds, 2),
            "reconnects": capture.reconnects,
            "stalls": capture.stalls,
            "stages_ms": self._stages(),
        }
        self._captured, self._dropped, self._processed = frames, dropped, 0
        self._rows.clear()
        return figures

    def _stages(self) -> dict[str, dict[str, float]]:
        """Stage -> quantile -> ms; empty without a frame."""
        if not self._rows:
            return {}
        table = np.quantile(np.array(self._rows) * 1000, list(QUANTILES.values()), axis=0).round(3)
        return {
            stage: dict(zip(QUANTILES, column, strict=True))
            for stage, column in zip(STAGES, table.T.tolist(), strict=True)
        }

"""Hourly histograms of the faces of a camera, for the topic ``stats``: a few increments for each classified face."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timezone

from edge_emotion.pipeline.pipeline import FaceNow
from edge_emotion.wire.hours import EDGES, FaceHour

HOUR = 3600


class FaceHistograms:
    """Counts the hour that runs, and has the complete one before it. Only in memory: they end with the process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` gives seconds since 1970, UTC."""
        self._clock = clock
        self._hour = int(clock()) // HOUR
        self._last: FaceHour | None = None
        self._begin()

    def add(self, faces: Iterable[FaceNow]) -> None:
        """Count faces that were classified now."""
        self._turn()
        for face in faces:
            box = face.track.face.box
            values = {
                "confidence": face.emotion.confidence,
                "quality": face.quality,
                "size": max(box.width, box.height),
                "score": face.track.face.score,
            }
            for name, value in values.items():
                self._bins[name][bisect_right(EDGES[name], value)] += 1
            self._emotions[face.emotion.emotion] += 1

    def last(self) -> FaceHour | None:
        """The hour before the one that runs; None if no face was classified in it."""
        self._turn()
        return self._last

    def _begin(self) -> None:
        self._bins = {name: [0] * (len(edges) + 1) for name, edges in EDGES.items()}
        self._emotions: Counter[str] = Counter()

    def _turn(self) -> None:
        """After a full hour, or after the clock was set: the next one begins."""
        hour = int(self._clock()) // HOUR
        if hour == self._hour:
            return
        faces = self._emotions.total()
        start = datetime.fromtimestamp(self._hour * HOUR, timezone.utc)
        histograms = {name: tuple(bins) for name, bins in self._bins.items()}
        follows = faces and hour == self._hour + 1
        self._last = FaceHour(start, faces, histograms, dict(self._emotions)) if follows else None
        self._hour = hour
        self._begin()

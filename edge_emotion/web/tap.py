"""The call of the main loop after each frame: a few numbers, and more only while somebody looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from edge_emotion.daemon.camera import Camera
from edge_emotion.datatypes import Image
from edge_emotion.web.frame_view import FrameView
from edge_emotion.web.live import LiveState

FRAMES_PER_SECOND = 10.0
"""Most frames of a camera that are drawn."""

PICTURES_PER_SECOND = 5.0
"""Most pictures of a camera that are shown."""

LONGEST_INTERVAL = 60.0
"""Seconds between two frames that belong to the same run of a camera."""

WEIGHT = 0.1
"""Of the newest interval in the mean of those between frames."""


class Pace:
    """Lets through so many a second, evenly."""

    def __init__(self, per_second: float) -> None:
        self._interval, self._due = 1 / per_second, 0.0

    def is_due(self, now: float) -> bool:
        """Whether one is due at monotonic seconds ``now``; it counts as done then."""
        if now < self._due:
            return False
        self._due = max(self._due + self._interval, now)
        return True


class CameraTap:
    """Of one camera: its frame rate, and when the next frame is due."""

    def __init__(self) -> None:
        self.frames, self.pictures = Pace(FRAMES_PER_SECOND), Pace(PICTURES_PER_SECOND)
        self._last, self._mean = 0.0, 0.0
        self.width = self.height = 0
        """Of a frame as the settings turn and crop it; 0 before the first one."""

    def count(self, now: float) -> None:
        """Note a frame at monotonic seconds ``now``."""
        interval, self._last = now - self._last, now
        if interval < LONGEST_INTERVAL:
            self._mean = self._mean + WEIGHT * (interval - self._mean) if self._mean else interval

    @property
    def fps(self) -> float:
        """Frames per second lately."""
        return 1 / self._mean if self._mean > 0 else 0.0


MAX_VIEWERS = 4
"""Most viewers of real pictures at the same time."""


class Picture(NamedTuple):
    """A picture of a camera and its number."""

    number: int
    image: Image


class Preview:
    """The newest picture of each camera that somebody looks at, in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._viewers: dict[str, int] = {}
        self._pictures: dict[str, Picture] = {}
        self._number = 0
        self.ended = False
        """True when the server stops."""

    @property
    def full(self) -> bool:
        """Whether nobody more may look."""
        return sum(self._viewers.values()) >= MAX_VIEWERS

    def wants(self, camera: str) -> bool:
        """Whether somebody looks at this camera."""
        return camera in self._viewers

    def offer(self, camera: str, image: Image) -> None:
        """Replace the picture of a camera."""
        with self._lock:
            if camera in self._viewers:
                self._number += 1
                self._pictures[camera] = Picture(self._number, image)

    def newest(self, camera: str) -> Picture | None:
        """The newest picture; None before the first one."""
        return self._pictures.get(camera)

    @contextmanager
    def looking(self, camera: str) -> Iterator[None]:
        """Want the pictures of a camera while the block runs."""
        with self._lock:
            self._viewers[camera] = self._viewers.get(camera, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._viewers[camera] -= 1
                if not self._viewers[camera]:
                    del self._viewers[camera]
                    self._pictures.pop(camera, None)


class FrameTap:
    """Called in the main loop after each frame. Nothing is computed for a page that nobody looks at."""

    def __init__(self, live: LiveState, preview: Preview | None) -> None:
        self._live, self._preview = live, preview
        self._taps: dict[str, CameraTap] = {}

    def __call__(self, camera: Camera) -> None:
        """Show the last frame of a camera, if it is due."""
        now, name = time.monotonic(), camera.name
        tap = self._taps.setdefault(name, CameraTap())
        tap.count(now)
        frame = camera.pipeline.last_frame
        if frame is None:
            return
        processed = camera.pipeline.times is not None  # else it is as the camera gave it, without mask and crop
        if processed:
            tap.height, tap.width = frame.image.shape[:2]
        if self._live.watched and tap.width and tap.frames.is_due(now):
            latency = 1000 * (now - camera.captured)
            view = FrameView(name, frame.captured_at, tap.width, tap.height, tap.fps, latency, camera.pipeline.faces())
            self._live.show("frame", view.as_dict)
        if processed and self._preview is not None and self._preview.wants(name) and tap.pictures.is_due(now):
            self._preview.offer(name, frame.image)

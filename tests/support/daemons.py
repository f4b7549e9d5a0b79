"""Daemons with scripted cameras."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import count

from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture, Timing
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import Frame
from edge_emotion.errors import SourceEnded
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.memory import MemorySink
from support.pipelines import Moods, make
from support.values import face, frame


class Script:
    """A source that plays a script: frames, and errors that it raises; then it ends."""

    def __init__(self, steps: Sequence[Frame | Exception], *, live: bool = False, open_error: Exception | None = None):
        self.live = live
        self.opened = self.closed = 0
        self._steps, self._open_error = list(steps), open_error

    def open(self) -> None:
        self.opened += 1
        if self._open_error:
            raise self._open_error

    def read(self) -> Frame:
        if not self._steps:
            raise SourceEnded("the end")
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


def frames(first: int, last: int) -> list[Frame]:
    return [frame(n / 10) for n in range(first, last)]


SHORT_PAUSES = Timing(first_retry=0.01)


def make_daemon(sources: dict[str, Script], sinks: list[MemorySink], *, fail_fast: bool = False) -> Daemon:
    changed = threading.Condition()
    cameras = [
        Camera(
            Capture(name, source, changed, max_fps=100, lossless=True, fail_fast=fail_fast, timing=SHORT_PAUSES),
            make([[face()]], Moods("happiness")),
        )
        for name, source in sources.items()
    ]
    return Daemon(cameras, sinks, changed, EventCounter(None))


def types(sink: MemorySink) -> list[str]:
    return [event.type for event in sink.events]


class Endless(Script):
    """A camera that never ends."""

    def __init__(self) -> None:
        super().__init__([], live=True)
        self._numbers = count()

    def read(self) -> Frame:
        time.sleep(0.002)
        return frame(next(self._numbers) / 10)

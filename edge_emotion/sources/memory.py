"""Frames from memory: for tests, demos and benchmarks that need no camera."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np

from edge_emotion.datatypes import Frame, Image
from edge_emotion.errors import SourceEnded, SourceError


class MemorySource:
    """A FrameSource over pictures, or over whole frames with times of their own.

    ``images``: H x W x 3 uint8 BGR pictures, stamped ``1 / fps`` seconds apart from ``start`` (monotonic seconds;
    None is the moment of ``open``); or Frames, given as they are. It never sleeps. ``loop`` starts again at the
    end, with times that go on. With ``live`` the end is a lost camera (SourceError), otherwise SourceEnded.
    Raises ValueError for no pictures at all or one of another shape or type.
    """

    def __init__(
        self,
        images: Sequence[Image] | Sequence[Frame],
        *,
        fps: float = 15.0,
        start: float | None = None,
        live: bool = False,
        loop: bool = False,
    ) -> None:
        if not images or fps <= 0:
            raise ValueError("a MemorySource needs at least one picture and fps > 0")
        for item in images:
            _check(item.image if isinstance(item, Frame) else item)
        self._items: tuple[Image | Frame, ...] = tuple(images)
        self._fps = fps
        self._start = start
        self._live = live
        self._loop = loop
        self._frames: Iterator[Frame] | None = None

    def __repr__(self) -> str:
        return f"MemorySource({len(self._items)} frames)"

    @property
    def live(self) -> bool:
        """As given to the constructor."""
        return self._live

    def open(self) -> None:
        """Begin with the first frame."""
        self._frames = self._play()

    def read(self) -> Frame:
        """Give the next frame, at once. Raises SourceEnded after the last one; with ``live`` a plain SourceError."""
        if self._frames is None:
            raise SourceError(f"{self!r} is not open: call open() before read()")
        frame = next(self._frames, None)
        if frame is not None:
            return frame
        if self._live:
            raise SourceError(f"{self!r} is lost: it has no more frames")
        raise SourceEnded(f"{self!r} has given its last frame")

    def close(self) -> None:
        """Forget the position."""
        self._frames = None

    def _play(self) -> Iterator[Frame]:
        frames = self._stamped()
        lap = frames[-1].timestamp - frames[0].timestamp + 1 / self._fps
        yield from frames
        laps = 1
        while self._loop:
            for position, frame in enumerate(frames, start=laps * len(frames)):
                yield _later(frame, laps * lap, sequence=position)
            laps += 1

    def _stamped(self) -> tuple[Frame, ...]:
        start = time.monotonic() if self._start is None else self._start
        now = datetime.now(timezone.utc)
        return tuple(
            item if isinstance(item, Frame) else _later(Frame(item, start, now), number / self._fps, number)
            for number, item in enumerate(self._items)
        )


def _later(frame: Frame, seconds: float, sequence: int) -> Frame:
    captured_at = frame.captured_at + timedelta(seconds=seconds)
    return replace(frame, timestamp=frame.timestamp + seconds, captured_at=captured_at, sequence=sequence)


def _check(image: Image) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"pictures are H x W x 3 uint8, not {image.shape} {image.dtype}")

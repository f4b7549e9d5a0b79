"""One cv2.VideoCapture in a thread of its own, so that no call to it can hang the caller."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.errors import SourceError

_DEFAULT_FPS = 25.0


Due = Callable[[float], bool]
"""True if a frame that was received at this time (monotonic seconds) is to be decoded."""


class Arrival(NamedTuple):
    """One picture as OpenCV gave it, and when (monotonic seconds, UTC); ``image`` None: it was not wanted.

    ``position`` in the video or stream and ``period`` to the next frame are seconds; 0 where it is not known.
    """

    image: npt.NDArray[np.generic] | None
    timestamp: float
    captured_at: datetime
    position: float = 0.0
    period: float = 0.0


def always(_: float) -> bool:
    """True: a ``Due`` for which every frame is to be decoded."""
    return True


class Driver(Protocol):
    """The methods of cv2.VideoCapture that are used here. They may raise cv2.error or SourceError."""

    def grab(self) -> bool:
        """Receive the next frame; False at the end."""

    def retrieve(self) -> tuple[bool, npt.NDArray[np.generic] | None]:
        """Decode the frame that was received: H x W x channels."""

    def get(self, key: int, /) -> float:
        """A property by its number, 0 if there is none."""

    def release(self) -> None:
        """Close it."""


class BoundedCapture:
    """A cv2.VideoCapture in the one thread that ever touches it.

    Its calls may hang for longer than any time-out (V4L2, GStreamer, name look-ups), and to release it under a
    running read would crash. So the caller waits as long as it likes, and the thread releases the device as soon
    as its last call has come back. It reads only when asked: it is never more than one frame ahead.
    """

    def __init__(self, create: Callable[[], Driver], name: str, *, file: bool, loop: bool) -> None:
        self.stopped = threading.Event()
        self.fault = ""
        """The message of an error; it may hold the source with its credentials."""
        self._create = create
        self._file = file
        self._loop = loop
        self._orders: queue.SimpleQueue[Due | None] = queue.SimpleQueue()
        self._arrivals: queue.SimpleQueue[Arrival | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"cv2 {name}", daemon=True)
        self._thread.start()

    def read(self, timeout: float, due: Due = always) -> Arrival | None:
        """Wait for the next frame; None at the end, at a fault, and after ``stop``. It is decoded if it is ``due``.

        Raises TimeoutError after ``timeout`` seconds. A frame that comes later is lost: call ``stop`` then.
        """
        self._orders.put(due)
        try:
            return self._arrivals.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None

    def stop(self) -> None:
        """Let the thread end after its present call, and a ``read`` that waits return now."""
        self.stopped.set()
        self._orders.put(None)
        self._arrivals.put(None)

    def join(self, timeout: float) -> bool:
        """Wait until the device is given back: True; or for ``timeout`` seconds: False."""
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._serve()
        except (cv2.error, SourceError) as error:
            self.fault = " ".join(str(error).split())
            self._arrivals.put(None)

    def _serve(self) -> None:
        capture = self._create()
        try:
            while (due := self._orders.get()) is not None:
                arrival = self._grab(capture, due)
                if arrival is None and self._loop:
                    # A new capture: not every container can be wound back.
                    capture.release()
                    capture = self._create()
                    arrival = self._grab(capture, due)
                self._arrivals.put(arrival)
        finally:
            capture.release()

    def _grab(self, capture: Driver, due: Due) -> Arrival | None:
        if not capture.grab():
            return None
        timestamp, captured_at = time.monotonic(), datetime.now(timezone.utc)
        image: npt.NDArray[np.generic] | None = None
        if due(timestamp):
            ok, image = capture.retrieve()
            if not ok or image is None or image.size == 0:
                return None
        position = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if not self._file:
            return Arrival(image, timestamp, captured_at, position)
        fps = capture.get(cv2.CAP_PROP_FPS)
        period = 1 / (fps if 0 < fps <= 1000 else _DEFAULT_FPS)
        return Arrival(image, timestamp, captured_at, position, period)

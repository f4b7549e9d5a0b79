"""The hand-over from a capture thread to the main loop: a buffer of one frame, the newest."""

from __future__ import annotations

import threading

from edge_emotion.datatypes import Frame


class LatestFrame:
    """A buffer of one frame. A new frame replaces the old one; ``dropped`` counts old ones that were never taken."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed
        self._frame: Frame | None = None
        self.dropped = 0

    @property
    def full(self) -> bool:
        """True while a frame waits here."""
        with self._changed:
            return self._frame is not None

    def put(self, frame: Frame) -> None:
        """Offer a frame; never blocks for long."""
        with self._changed:
            self.dropped += self._frame is not None
            self._frame = frame
            self._changed.notify_all()

    def take(self) -> Frame | None:
        """The newest frame, once; None if there is none that was not taken."""
        with self._changed:
            frame, self._frame = self._frame, None
            self._changed.notify_all()
            return frame

    def wake(self) -> None:
        """Wake the main loop for something other than a frame."""
        with self._changed:
            self._changed.notify_all()

    def wait_empty(self, stopped: threading.Event) -> None:
        """Wait until the frame was taken or ``stopped`` is set; used for recordings, of which no frame may be lost."""
        with self._changed:
            while self._frame is not None and not stopped.is_set():
                self._changed.wait(0.1)

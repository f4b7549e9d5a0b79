"""The thread of one camera: reads frames, hands over the newest one, and reopens a lost source."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Literal

from edge_emotion.daemon.latest_frame import LatestFrame
from edge_emotion.errors import SourceEnded, SourceError, SourceStalled
from edge_emotion.protocols import ChoosingSource, FrameSource
from edge_emotion.system.backoff import Backoff

log = logging.getLogger(__name__)

Status = Literal["opening", "online", "offline", "ended", "failed", "disabled"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Time limits of a capture thread, in seconds."""

    open: float = math.inf
    """For ``open`` of the source to return; longer than the source's own time-out."""
    read: float = math.inf
    """For ``read`` of the source to return; longer than the source's own time-out."""
    first_retry: float = 1.0
    longest_retry: float = 30.0
    steady: float = 10.0
    """A camera that stayed open this long ends the doubling of the retry delays."""
    release: float = 5.0
    """For a camera that is no longer wanted to release its device."""


class Capture:
    """Reads one source in a thread of its own.

    ``status`` is opening, online after a first frame, offline while a live source is lost, ended after the last frame
    of a finite one. A finite source that cannot be read, any source that cannot be opened the first time if
    ``fail_fast``, and a bug in an adapter make it failed, with the exception in ``error``.
    ``lossless`` waits for each frame to be taken; otherwise newer frames replace older ones.
    Adapters keep their own time-outs. One that has not returned within those of ``timing``, which are longer, hangs in
    its driver: the camera is ``stuck``, and offline until the call returns.
    """

    def __init__(
        self,
        name: str,
        source: FrameSource,
        changed: threading.Condition,
        *,
        max_fps: float,
        lossless: bool = False,
        fail_fast: bool = False,
        timing: Timing | None = None,
    ) -> None:
        self.name, self.lossless = name, lossless
        self.slot = LatestFrame(changed)
        self.error: BaseException | None = None
        self.frames = 0
        self.read_until = -math.inf
        """Timestamp of the last frame that was read, also if it was beyond ``max_fps``; -inf before the first."""
        self.losses = self.reconnects = self.stalls = 0
        """Counts: camera lost, camera reopened, and camera lost because it gave no frame within its time-out."""
        self._source = source
        self._choosing = source if isinstance(source, ChoosingSource) and source.live else None
        self._status: Status = "opening"
        self._timing = timing or Timing()
        self._answer_by = math.inf
        self._period = 1 / max_fps
        self._fail_fast = fail_fast
        self._due = float("-inf")
        self._stopped = threading.Event()
        self._predecessor: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name=f"capture-{name}", daemon=True)

    @property
    def status(self) -> Status:
        """The present status, see the class."""
        return "offline" if self.stuck else self._status

    @property
    def stuck(self) -> bool:
        """True while a call of the source exceeds its time limit: no retry can help then."""
        return time.monotonic() > self._answer_by

    def start(self, after: threading.Thread | None = None) -> None:
        """Start reading, after the thread that releases the same device has ended."""
        self._predecessor = after
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Stop reading soon; returns at once."""
        self._stopped.set()

    def release(self) -> threading.Thread:
        """Stop and release the device; returns at once, with the thread that does it."""
        self.ask_to_stop()
        helper = threading.Thread(
            target=self.join, args=(self._timing.release,), name=f"release-{self.name}", daemon=True
        )
        helper.start()
        return helper

    def join(self, timeout: float) -> None:
        """Release the device and wait for the thread, ``timeout`` seconds at most if a read hangs."""
        if self._thread.ident is not None:
            self._source.close()  # ends a read that waits for its time
            self._thread.join(max(timeout, 0.0))
        if self._thread.is_alive():
            log.warning("camera %s: a read still hangs; its thread is abandoned", self.name)

    def _run(self) -> None:
        if self._predecessor is not None:
            self._predecessor.join()
        try:
            self._keep_reading()
        except SourceEnded:
            self._change("ended")
        except Exception as error:  # noqa: BLE001 - whatever it is, a thread's bug must land in main
            self.error = error
            self._change("failed")

    def _keep_reading(self) -> None:
        """Read until stopped. Raises errors that no retry can fix."""
        backoff = Backoff(self._timing.first_retry, self._timing.longest_retry)
        while not self._stopped.is_set():
            wait = 0.0
            try:
                self._answer_by = time.monotonic() + self._timing.open
                self._source.open()
                opened = time.monotonic()
                while not self._stopped.is_set():
                    self._read()
                    if time.monotonic() - opened > self._timing.steady:
                        backoff.reset()
            except SourceError as error:
                if self._stopped.is_set():
                    return  # close was called by stop
                if isinstance(error, SourceEnded) or not self._source.live or (self._fail_fast and not self.frames):
                    raise
                wait = backoff.next()
                self._lost(error, wait)
            finally:
                self._source.close()  # before the pause, so that other programs can use the device meanwhile
                self._answer_by = math.inf
            self._stopped.wait(wait)

    def _read(self) -> None:
        self._answer_by = time.monotonic() + self._timing.read
        # Frames beyond max_fps are received and counted, but not decoded.
        frame = self._choosing.read_due(self._is_due) if self._choosing else self._source.read()
        self._answer_by = math.inf
        self.frames += 1
        if self._status != "online":
            self.reconnects += self.losses > self.reconnects
            self._change("online")
        if frame is None:
            return
        self.read_until = frame.timestamp
        if not self._is_due(frame.timestamp):
            return
        self._due = max(self._due, frame.timestamp) + self._period
        if self.lossless:
            self.slot.wait_empty(self._stopped)
        self.slot.put(frame)

    def _is_due(self, timestamp: float) -> bool:
        """True if a frame of this time keeps to ``max_fps``."""
        # A quarter of a period of slack: a 30 fps camera limited to 15 fps gives every second frame, jitter or not.
        # Times are rounded: a recording of 20 fps is at this limit to the microsecond, and must be the same each time.
        return timestamp >= self._due - self._period / 4 - 1e-6

    def _lost(self, error: SourceError, wait: float) -> None:
        if self._status != "offline":
            log.warning("camera %s is offline: %s; trying again in %.1f s", self.name, error, wait)
            self.slot.take()  # from now on every frame in the slot is newer than the losses counted so far
            self.losses += self._status == "online"
            self.stalls += self._status == "online" and isinstance(error, SourceStalled)
        else:
            log.debug("camera %s: %s; trying again in %.1f s", self.name, error, wait)
        self._change("offline")

    def _change(self, status: Status) -> None:
        self._status = status
        self.slot.wake()

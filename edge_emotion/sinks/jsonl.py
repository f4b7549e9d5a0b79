"""Events as JSON lines, in a file or on standard output."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path

from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import EdgeEmotionError, ReaderGone, SinkError
from edge_emotion.system.append_file import AppendedFile, LineOutput, standard_output
from edge_emotion.system.paths import expand
from edge_emotion.wire.payloads import event_to_json

_log = logging.getLogger(__name__)

BACKLOG = 10_000
"""Lines at most that wait for a slow reader; then the oldest are dropped."""

LOOK = 1.0
"""Seconds between two looks at whether the file was renamed and whether a reader is there."""

DRAIN = 1.0
"""Seconds at most for a slow reader to take what waits at a stop."""


class JsonlSink:
    """One event per line, in the form it has on MQTT, appended to what is there.

    A line is written at once, or waits in memory while a reader does not keep up; no call waits for a reader. The
    file is opened again when its path names another one (logrotate). ``path`` is a file in an existing folder, a
    FIFO, or ``-`` for standard output. States and availability are not written.
    """

    def __init__(self, path: str, look: float = LOOK) -> None:
        self._path, self._look = path, look
        self._name = "standard output" if path == "-" else path
        self._lock = threading.Lock()
        self._lines: LineOutput | None = None
        self._backlog: deque[bytes] = deque()
        self._watcher: threading.Thread | None = None
        self._wake = threading.Event()
        self._reported: set[str] = set()
        self.dropped = 0
        """Events that could not be written, since the start."""
        self.ended: EdgeEmotionError | None = None
        """Why no event can be written any more: nothing reads standard output."""

    def check(self) -> None:
        """Raises SinkError if the folder is missing or nothing may be written there."""
        path = expand(self._path)
        place = path if path.exists() else path.parent
        if self._path != "-" and not os.access(place, os.W_OK):
            raise SinkError(f"cannot write events to {path}: no writable {place}; set jsonl.path to another file")

    def open(self) -> None:
        """Open for appending. Raises SinkError for a path that cannot be written."""
        if self._lines is not None:
            return
        if self._path == "-" and sys.stdout is None:
            raise SinkError("cannot write events to standard output: it is closed; set jsonl.path to a file")
        try:
            self._lines = standard_output() if self._path == "-" else AppendedFile(Path(self._path))
        except SinkError as error:
            raise SinkError(f"{error}; set jsonl.path to a writable file") from error
        self._wake.clear()
        self._watcher = threading.Thread(target=self._watch, args=(self._lines,), name="jsonl", daemon=True)
        self._watcher.start()

    def publish(self, event: EmotionEvent) -> None:
        """Write one line. What cannot be written is counted in ``dropped``, and logged once until it works again."""
        with self._lock:
            try:
                line = event_to_json(event)
            except ValueError as error:
                self._drop(1, f"event {event.id} has no JSON form ({error})")
                return
            self._backlog.append(line)
            if len(self._backlog) > BACKLOG:
                self._backlog.popleft()
                self._drop(1, f"more than {BACKLOG} events wait for the reader of {self._name}")
            self._write_backlog()

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Not written: a file is for events."""

    def camera_available(self, camera: str, available: bool) -> None:
        """Not written: a file is for events."""

    def close(self) -> None:
        """Give a slow reader ``DRAIN`` s to take what waits, then close the file; standard output stays open."""
        lines, until = self._lines, time.monotonic() + DRAIN
        if lines is None:
            return
        while self._is_behind(lines) and (left := until - time.monotonic()) > 0:
            lines.wait(left)
        with self._lock:
            self._lines = None
            if self._backlog:
                self._drop(len(self._backlog), f"stopped while {len(self._backlog)} events waited for {self._name}")
                self._backlog.clear()
        self._wake.set()
        if self._watcher is not None:
            self._watcher.join(DRAIN)
        lines.close()

    def _is_behind(self, lines: LineOutput) -> bool:
        """Write what can be written; True if something is left and a reader may still take it."""
        with self._lock:
            if self._write_backlog():
                return True
            try:
                lines.flush()
            except BlockingIOError:
                return True
            except OSError:  # logged with the next line
                return False
        return False

    def _write_backlog(self) -> bool:
        """Holding the lock. True if the reader does not keep up."""
        while self._backlog:
            try:
                self._write(self._backlog[0])
            except BlockingIOError as error:
                self._report(logging.WARNING, f"{error.strerror}: events wait for it in memory")
                self._wake.set()
                return True
            except OSError as error:
                self._drop(1, error.strerror or str(error))
                self._look_for_reader(error)
            else:
                self._reported.clear()
            self._backlog.popleft()
        return False

    def _write(self, line: bytes) -> None:
        if self._lines is None:
            raise SinkError("the sink is not open")
        self._lines.write(line)

    def _watch(self, lines: LineOutput) -> None:
        """In a thread: follow the path, notice that the reader has gone, write what waits when there is room."""
        while self._lines is lines:
            self._wake.wait(self._look)
            self._wake.clear()
            while self._lines is lines and self._is_behind(lines):
                lines.wait(min(self._look, DRAIN / 2))
            with self._lock:
                if self._lines is lines:
                    self._look_after(lines)

    def _look_after(self, lines: LineOutput) -> None:
        try:
            lines.follow()
        except OSError as error:
            self._report(logging.ERROR, f"{error.strerror or error}; events go to the renamed file")
        if not lines.has_reader():
            self._look_for_reader(BrokenPipeError())

    def _look_for_reader(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError) and self._path == "-":
            self.ended = ReaderGone("the program that read the events from standard output has ended: the run ends")

    def _drop(self, count: int, reason: str) -> None:
        self.dropped += count
        self._report(logging.ERROR, f"cannot write events to {self._name} ({reason}); they are dropped")

    def _report(self, level: int, status: str) -> None:
        """Log it once, until events are written again."""
        if status not in self._reported:
            _log.log(level, "%s", status)
        self._reported.add(status)

"""Events as JSON lines, in a file or on standard output."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO

from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import SinkError
from edge_emotion.system.paths import expand
from edge_emotion.wire.payloads import event_to_json

_log = logging.getLogger(__name__)


class JsonlSink:
    """One event per line, in the form it has on MQTT, written at once and appended to what is there.

    ``path`` is a file in an existing folder, or ``-`` for standard output. States and availability are not written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._torn = False
        self._failing = False
        self.dropped = 0
        """Events that could not be written, since the start."""

    def check(self) -> None:
        """Raises SinkError if the folder is missing or nothing may be written there."""
        path = expand(self._path)
        place = path if path.exists() else path.parent
        if self._path != "-" and not os.access(place, os.W_OK):
            raise SinkError(f"cannot write events to {path}: no writable {place}; set jsonl.path to another file")

    def open(self) -> None:
        """Open for appending. Raises SinkError for a path that cannot be written."""
        if self._path == "-" and sys.stdout is None:
            raise SinkError("cannot write events to standard output: it is closed; set jsonl.path to a file")
        if self._file is None:
            self._file = _standard_output() if self._path == "-" else self._append()

    def publish(self, event: EmotionEvent) -> None:
        """Write one line. What cannot be written is counted in ``dropped``, and logged once until it works again."""
        try:
            self._write(event_to_json(event) + b"\n")
        except (OSError, ValueError) as error:
            self.dropped += 1
            if not self._failing:
                _log.error("cannot write events to %s (%s); they are dropped until it works again", self._path, error)
            self._failing = True
        else:
            self._failing = False

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Not written: a file is for events."""

    def camera_available(self, camera: str, available: bool) -> None:
        """Not written: a file is for events."""

    def close(self) -> None:
        """Close the file; standard output stays open."""
        if self._file is not None and self._path != "-":
            self._file.close()
        self._file = None

    def _append(self) -> BinaryIO:
        path = expand(self._path)
        try:
            # Unbuffered: what fails is not kept and written a second time later, behind the back of the counter.
            file = path.open("ab", buffering=0)
            self._torn = file.seekable() and file.tell() > 0 and _last_byte(path) != b"\n"
        except OSError as error:
            reason = error.strerror or str(error)
            raise SinkError(f"cannot write events to {path}: {reason}; set jsonl.path to a writable file") from error
        return file

    def _write(self, line: bytes) -> None:
        if self._file is None:
            raise ValueError("the sink is not open")
        # A line cut off by a full disk or a power failure must not swallow the next one.
        rest = memoryview(b"\n" + line if self._torn else line)
        while rest:
            written = self._file.write(rest)
            if not written:
                raise BlockingIOError("the reader is too slow")
            self._torn = written < len(rest)
            rest = rest[written:]


def _standard_output() -> BinaryIO:
    sys.stdout.flush()
    buffer = sys.stdout.buffer
    unbuffered: BinaryIO = getattr(buffer, "raw", buffer)
    return unbuffered


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1)

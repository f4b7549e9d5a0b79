"""Events of the daemon as lines of text on standard output, for people who watch it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from edge_emotion.cli.event_formats import describe_event, printable
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import SinkError
from edge_emotion.system.append_file import LineOutput, standard_output


class PrintedEvents:
    """One line of text per event on standard output; states and availability are in the log.

    A terminal that does not take a line (Ctrl-S), or that is closed, loses it: the other sinks deliver events.
    ``output`` makes what is written to.
    """

    def __init__(self, output: Callable[[], LineOutput] = standard_output) -> None:
        self._output = output
        self._lines: LineOutput | None = None
        self._lock = threading.Lock()
        self.dropped = 0
        """Events that were not printed."""

    def check(self) -> None:
        """Raises SinkError if standard output is closed."""
        if sys.stdout is None:
            raise SinkError("cannot print events: standard output is closed")

    def open(self) -> None:
        """Raises SinkError if standard output is closed."""
        self.check()
        self._lines = self._output()

    def publish(self, event: EmotionEvent) -> None:
        """Print one line if standard output takes it now."""
        line = printable(describe_event(event)).encode("utf-8", "backslashreplace")
        with self._lock:
            try:
                if self._lines is None:
                    raise SinkError("the sink is not open")
                self._lines.write(line)
            except OSError:  # also SinkError
                self.dropped += 1

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Not printed."""

    def camera_available(self, camera: str, available: bool) -> None:
        """Not printed."""

    def close(self) -> None:
        """Print the rest of a line that has been begun; standard output stays open."""
        if self._lines is not None:
            with suppress(OSError):
                self._lines.flush()
        self._lines = None

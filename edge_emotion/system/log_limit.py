"""Log lines that an outsider can cause: a few for each period, and the number of those that were left out."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable


class LogLimit:
    """Warnings of one kind: at most ``most`` lines in each ``period`` of seconds. May be used from several threads."""

    def __init__(
        self,
        log: logging.Logger,
        most: int = 5,
        period: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._most, self._period, self._clock = log, most, period, clock
        self._lock = threading.Lock()
        self._began, self._written, self._left_out = clock(), 0, 0

    def warning(self, message: str, *values: object) -> None:
        """Log a warning, or count it. The first line of a period reports those that were left out before."""
        with self._lock:
            left_out = self._start_period()
            write = self._written < self._most
            self._written += write
            self._left_out += not write
        if left_out:
            self._log.warning("%d more warnings of the next kind were not logged", left_out)
        if write:
            self._log.warning(message, *values)

    def _start_period(self) -> int:
        if self._clock() - self._began < self._period:
            return 0
        left_out, self._left_out = self._left_out, 0
        self._began, self._written = self._clock(), 0
        return left_out

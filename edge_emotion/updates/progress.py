"""How far a node is with its order: kept on the disk, reported, and logged."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from edge_emotion.updates.record import RecordFile, UpdateRecord
from edge_emotion.wire.update_report import UpdateState

log = logging.getLogger("edge_emotion.updates")


def now_utc() -> datetime:
    """The present moment."""
    return datetime.now(timezone.utc)


class RunEnded(Exception):  # noqa: N818 - it is no error
    """The run of the daemon has ended: nothing may be changed any more, the next one begins with what is kept."""


class Progress:
    """The record of a node. Changed by one thread; read, and closed, by any."""

    def __init__(self, file: RecordFile, clock: Callable[[], datetime] = now_utc) -> None:
        self.clock = clock
        self.record: UpdateRecord = file.load(clock())
        self.on_change: Callable[[], None] = lambda: None
        """Called after each change of state, reason or order."""
        self._file, self._lock, self._closed = file, threading.Lock(), False

    def set(self, state: UpdateState, reason: str = "", **fields: Any) -> None:
        """Replace state, reason and these fields. Raises RunEnded after ``close``."""
        before = self.record
        since = before.since if state == before.state else self.clock()
        self._replace(before.model_copy(update={"state": state, "reason": reason, "since": since, **fields}))
        if (state, reason) != (before.state, before.reason):
            level = logging.WARNING if state in ("returned", "refused") else logging.INFO
            log.log(level, "model update: %s%s", state, f": {reason}" if reason else "")

    def close(self, in_order: bool) -> None:
        """The process ends; ``in_order``: without an error."""
        if in_order:
            self._replace(self.record.model_copy(update={"running": False}))
        self._closed = True

    def _replace(self, record: UpdateRecord) -> None:
        with self._lock:
            if self._closed:
                raise RunEnded
            if record == self.record:
                return
            self.record = record
            self._file.save(record)
        self.on_change()

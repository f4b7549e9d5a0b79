"""The lock file of a node: one process at a time, and a copy of the event counter that is written in place."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from edge_emotion.outbox.counter_record import CounterRecord
from edge_emotion.system.private_file import is_gone, open_private

_LENGTH = 160
"""Bytes of the file. One sector is never half written, and a full disk has room for what is written in place."""


class NodeLock:
    """``<node>.lock``, held while this object is open; also released by the death of the process."""

    def __init__(self, path: Path) -> None:
        """Raises BlockingIOError if another process holds it, OSError if it cannot be made."""
        self.path = path
        self._handle = open_private(path)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self.close()
            raise

    def write(self, record: CounterRecord) -> None:
        """Replace the record. It survives the death of the process, and after ``sync`` a power cut. Raises OSError."""
        os.pwrite(self._handle, record.dump().encode().ljust(_LENGTH), 0)

    def sync(self) -> None:
        """Return when the disk has the record. Raises OSError."""
        os.fsync(self._handle)

    def is_gone(self) -> bool:
        """True if the file was deleted or replaced."""
        return self._handle >= 0 and is_gone(self.path, self._handle)

    def close(self) -> None:
        """Release the lock. May be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_copy(path: Path) -> CounterRecord | None:
    """The record in a lock file; None if there is none yet. Raises ValueError if it is damaged, OSError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(2 * _LENGTH) or b""
    if not content:
        return None
    line, end, rest = content.decode("ascii", "replace").partition("\n")
    if rest.strip(" "):
        raise ValueError("not a record of the event counter")
    return CounterRecord.parse(line + end)

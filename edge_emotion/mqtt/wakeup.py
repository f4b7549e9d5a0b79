"""Ends a ``select`` of another thread."""

from __future__ import annotations

import socket
from contextlib import suppress


class Wakeup:
    """Ends another thread's ``select`` at once."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """Wake the other thread, now or when it next waits. Never blocks."""
        with suppress(BlockingIOError):  # full: of wake-ups that were not seen yet
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)

    def fileno(self) -> int:
        """For ``select``."""
        return self._reader.fileno()

    def close(self) -> None:
        """Free the sockets."""
        self._reader.close()
        self._writer.close()

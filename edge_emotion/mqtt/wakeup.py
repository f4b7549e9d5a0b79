"""Interrupts a ``select`` of another thread."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress


class Wakeup:
    """A file descriptor that becomes readable when another thread calls ``set``.

    ``set`` and ``close`` may be called from any thread; after ``close``, ``set`` does nothing.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        # Without it ``set`` might write to a descriptor that was closed and opened again for something else.
        self._lock = threading.Lock()
        self._closed = False

    def set(self) -> None:
        """End the current or the next ``select``. Never blocks."""
        with self._lock, suppress(BlockingIOError):  # the buffer is full of earlier calls, which are enough
            if not self._closed:
                self._writer.send(b"\0")

    def wait(self, timeout: float) -> None:
        """Return after ``set``, or after ``timeout`` s."""
        if select.select([self._reader], [], [], timeout)[0]:
            self.clear()

    def clear(self) -> None:
        """Discard the calls of ``set`` so far."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)

    def fileno(self) -> int:
        """The descriptor for ``select``."""
        return self._reader.fileno()

    def close(self) -> None:
        """Close the sockets."""
        with self._lock:
            self._closed = True
            self._reader.close()
            self._writer.close()

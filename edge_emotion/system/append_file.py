"""Where lines go: standard output, or a file to which whole lines are appended."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from edge_emotion.errors import SinkError
from edge_emotion.system.paths import expand


class AppendedFile:
    """A file that only ever holds whole lines: one write each, undone if the disk had no room for all of it.

    What a power cut left of a last line is closed off, never removed. Only one process at a time writes to it.
    """

    def __init__(self, path: Path, header: str | None = None) -> None:
        """Append to what is there; ``header`` is the first line of the file. Raises SinkError."""
        self._path = expand(path)
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SinkError(f"cannot write to {self._path}: {error.strerror}; choose another file") from error
        try:
            self._begin(header)
        except BaseException:
            self.close()
            raise

    def write(self, line: str) -> None:
        """Append one line. Raises SinkError; the file is then as it was before."""
        # A lone surrogate becomes the \\u escape that it is in JSON.
        data = (line + "\n").encode("utf-8", "backslashreplace")
        try:
            written = os.write(self._file, data)
        except OSError as error:
            raise SinkError(f"cannot write to {self._path}: {error.strerror}") from error
        if written < len(data):
            self._undo(written)
            raise SinkError(f"cannot write to {self._path}: no room for a whole line")

    def check(self) -> None:
        """A file has no reader who could leave."""

    def close(self) -> None:
        """Close the file and let others write to it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self, header: str | None) -> None:
        if not self._is_regular():  # a device or a pipe has no past
            if header is not None:
                self.write(header)
            return
        self._lock()
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            self.write("")
        if header is not None:
            self._head(header, size)

    def _head(self, header: str, size: int) -> None:
        expected = (header + "\n").encode()
        if not size:
            self.write(header)
        elif os.pread(self._file, len(expected), 0) != expected:
            raise SinkError(f"{self._path} has other columns than this version writes: choose another file")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SinkError(f"another process writes to {self._path}: choose another file") from error
        except OSError:  # a network file system without locks
            return

    def _undo(self, written: int) -> None:
        if self._is_regular():
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)

    def _is_regular(self) -> bool:
        return stat.S_ISREG(os.fstat(self._file).st_mode)

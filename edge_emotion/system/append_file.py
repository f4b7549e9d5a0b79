"""Whole lines, appended to a file, a pipe or standard output. No call waits for a reader."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Literal

from edge_emotion.errors import SinkError
from edge_emotion.system.paths import expand

_BLOCK = 65_536
"""Bytes that are read at once."""

_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class LineOutput:
    """Lines to a file descriptor that is open already; its owner closes it.

    At most PIPE_BUF bytes are written at a time, and only while the descriptor is writable: a pipe then has room for
    them (POSIX, pipe(7)). What follows of a line that has been begun is written before the next one.
    """

    def __init__(self, handle: int, name: str) -> None:
        """``name`` is how messages call it."""
        self.name = name
        self._handle = handle
        self._rest = b""

    def write(self, line: bytes) -> None:
        """Write one line, given without its end.

        Raises BlockingIOError while the reader does not keep up, BrokenPipeError if there is none, SinkError if the
        disk has no room: the line is then not written.
        """
        self.flush()
        self._rest = line + b"\n"
        try:
            self.flush()
        except OSError:
            if len(self._rest) == len(line) + 1:
                self._rest = b""
                raise

    def flush(self) -> None:
        """Write what is left of a long line that has been begun. Raises as ``write``."""
        while self._rest:
            if not self._poll(0.0):
                raise BlockingIOError(errno.EAGAIN, f"the reader of {self.name} does not keep up")
            try:
                written = os.write(self._handle, self._rest[: select.PIPE_BUF])
            except (BlockingIOError, BrokenPipeError):
                raise
            except OSError as error:
                raise SinkError(f"cannot write to {self.name}: {error.strerror}") from error
            self._rest = self._rest[written:]

    def wait(self, seconds: float) -> None:
        """Return when ``write`` is worth a try, after ``seconds`` at most."""
        self._poll(seconds)

    def has_reader(self) -> bool:
        """False if this is a pipe or terminal whose other end is closed."""
        return not self._poll(0.0) & _GONE

    def follow(self) -> None:
        """A descriptor has no path that could name another file."""

    def close(self) -> None:
        """The descriptor stays open."""

    def _poll(self, seconds: float) -> int:
        poll = select.poll()
        poll.register(self._handle, select.POLLOUT)
        return next((found for _, found in poll.poll(seconds * 1000)), 0)


class AppendedFile(LineOutput):
    """A file that only ever holds whole lines: a line for which the disk has no room is undone.

    An incomplete last line, as after a power cut, is ended, or with ``mend="remove"`` removed. Only one process at a
    time writes to it. A FIFO may be without a reader; then ``write`` raises BrokenPipeError until there is one.
    """

    def __init__(self, path: Path, header: str | None = None, *, mend: Literal["end", "remove"] = "end") -> None:
        """Append to what is there; ``header`` is the first line of the file. Raises SinkError."""
        super().__init__(-1, str(expand(path)))
        self._path, self._header, self._mend, self._regular = expand(path), header, mend, False
        self._handle = self._open()
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def write(self, line: bytes) -> None:
        """As ``LineOutput.write``."""
        if self._handle < 0:
            self._handle = self._open()
            self._begin()
        if self._handle < 0:
            raise BrokenPipeError(errno.EPIPE, f"no process reads {self.name}")
        if self._regular:
            self._append(line + b"\n")
        else:
            super().write(line)

    def follow(self) -> None:
        """Go on in the file that the path names now, if the present one was renamed or deleted (logrotate).

        Raises SinkError if that cannot be opened; lines then still go to the old one.
        """
        if not self._moved():
            return
        before, self._handle = self._handle, -1
        try:
            self._handle = self._open()
            self._begin()
        except BaseException:
            self.close()
            self._handle = before
            raise
        os.close(before)

    def close(self) -> None:
        """Close the file and let others write to it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def has_reader(self) -> bool:
        """True: another program may open the path at any time."""
        return True

    def wait(self, seconds: float) -> None:
        """As ``LineOutput.wait``."""
        if self._handle >= 0:
            super().wait(seconds)

    def _moved(self) -> bool:
        if self._handle < 0:
            return False
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._handle))  # noqa: PTH116
        except FileNotFoundError:
            return True
        except OSError:  # a folder that cannot be reached for the moment
            return False

    def _open(self) -> int:
        """The descriptor; -1 for a FIFO without a reader. Raises SinkError."""
        flags = os.O_RDWR | os.O_CREAT
        with suppress(OSError):
            if stat.S_ISFIFO(self._path.stat().st_mode):
                flags = os.O_WRONLY | os.O_NONBLOCK
        try:
            return os.open(self._path, flags | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, 0o644)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return -1
            raise SinkError(f"cannot write to {self.name}: {error.strerror}; choose another file") from error

    def _begin(self) -> None:
        if self._handle < 0:
            return
        self._regular = stat.S_ISREG(os.fstat(self._handle).st_mode)
        if not self._regular:  # a device or a pipe has no past
            if self._header is not None:
                self.write(self._header.encode())
            return
        self._lock()
        size = os.fstat(self._handle).st_size
        if size and os.pread(self._handle, 1, size - 1) != b"\n":
            if self._mend == "end":
                self._append(b"\n")
            else:
                os.ftruncate(self._handle, self._whole_lines(size))
        if self._header is not None:
            self._head(self._header.encode(), size)

    def _whole_lines(self, size: int) -> int:
        """Bytes up to the end of the last whole line."""
        end = size
        while end:
            begin = max(0, end - _BLOCK)
            found = os.pread(self._handle, end - begin, begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
        return 0

    def _head(self, header: bytes, size: int) -> None:
        if not size:
            self._append(header + b"\n")
        elif os.pread(self._handle, len(header) + 1, 0) != header + b"\n":
            raise SinkError(f"{self.name} has other columns than this version writes: choose another file")

    def _append(self, data: bytes) -> None:
        """All of it or nothing. Raises SinkError."""
        try:
            written = os.write(self._handle, data)
        except OSError as error:
            raise SinkError(f"cannot write to {self.name}: {error.strerror}") from error
        if written < len(data):
            os.ftruncate(self._handle, os.fstat(self._handle).st_size - written)
            raise SinkError(f"cannot write to {self.name}: no room for a whole line")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SinkError(f"another process writes to {self.name}: choose another file") from error
        except OSError:  # a network file system without locks
            return


def standard_output() -> LineOutput:
    """Standard output, past Python's buffer. Raises SinkError if it is closed or in memory only."""
    try:
        sys.stdout.flush()
        return LineOutput(sys.stdout.fileno(), "standard output")
    except (AttributeError, OSError, ValueError) as error:
        raise SinkError("cannot write to standard output: it is closed or not a file") from error

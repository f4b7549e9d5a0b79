"""The node's event counter, which goes on where it was after a restart, a crash and a power cut."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_emotion.errors import ConfigError
from edge_emotion.system.atomic_file import sync_folder

log = logging.getLogger(__name__)

BLOCK, LARGEST_BLOCK = 64, 4096
"""Numbers reserved at a time; a power cut skips fewer than 1.5 times as many. More if they last less than 10 s."""

_LENGTH = 128
"""Bytes of the file. It is written in place: one sector is never half written, and a full disk has room for it."""

_UNKNOWN = "-"

_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What may be wrong with a folder that is the right one."""


@dataclass(frozen=True, slots=True)
class _Record:
    """``last`` is the last number that was shown to anybody, as far as ``keeper`` says.

    ``closed``: exactly, the counter has stopped. ``here``: if the machine still runs, of which ``boot`` tells.
    ``outbox``: it was at least this, and the outbox knows more. ``reserved`` is on the disk before any number up to
    it is shown.
    """

    last: int
    reserved: int
    keeper: str
    boot: str

    def dump(self) -> bytes:
        return f"{self.last} {self.reserved} {self.keeper} {self.boot}\n".encode().ljust(_LENGTH)


class EventCounter:
    """Counts 1, 2, 3 ...; kept in the file ``<node>.seq`` of the state directory, which one process at a time may use.

    After a clean stop and after the death of the process it goes on with the next number; after a power cut with
    one that was certainly never used. In memory only without a directory, or, which is logged, in one that the disk
    does not let us write. Raises ConfigError if the directory cannot be one or another process counts for this node.
    """

    def __init__(self, folder: Path | None, node: str = "node") -> None:
        self.folder: Path | None = None
        """Where the node's state is kept; None if it is not."""
        self._node = node
        self._guard = threading.Lock()
        self._claim: IO[bytes] | None = None
        self._file: IO[bytes] | None = None
        self._last = self._shown = self._reserved = self._promised = 0
        self._block, self._extended_at = BLOCK, 0.0
        self._extender: threading.Thread | None = None
        self._keeper = "here"
        self._floor = 0
        """While the outbox keeps the numbers: the last one from before that."""
        self._pending = False
        """True while the outbox of the run before has not been asked; until then we count from the reserved ones."""
        self._doubtful = False
        self._failing = False
        self._boot = _boot()
        if folder is not None:
            self._open(folder)

    def __call__(self) -> int:
        """The next number."""
        self._last += 1
        return self._last

    def save(self) -> None:
        """Remember the numbers so far: they may be shown after it. No sync, but for what is reserved ahead."""
        if self._file is None or self._last == self._shown:
            return
        if self._last > self._reserved:
            self._wait_for_extender()
            if self._last > self._reserved:
                self._extend()
        elif self._promised - self._last < self._block // 2 and self._extender is None:
            self._extender = threading.Thread(target=self._extend, name="event-counter", daemon=True)
            self._extender.start()
        self._shown = self._last
        if self._pending:
            self._pending, self._keeper = False, "here"
        if self._keeper != "outbox":
            self._record()

    def resume(self, stored: int | None) -> None:
        """Events are shown only after an outbox has stored them, ``stored`` was the highest: go on after that one.

        From now on the outbox remembers the numbers. Call it before the first number is given out.
        """
        if self._pending and stored is not None:
            self._last = max(self._floor, stored)
        elif stored is not None:
            self._last = max(self._last, stored + LARGEST_BLOCK if self._doubtful else stored)
        self._pending, self._shown = False, self._last
        self.hand_over()

    def hand_over(self) -> None:
        """The outbox stores what is shown from now on. From any thread."""
        self._floor = self._shown
        self._keep("outbox")

    def take_back(self) -> None:
        """The outbox has stopped storing: from now on numbers are remembered here. From any thread."""
        self._keep("here")

    def close(self) -> None:
        """Remember exactly where it stopped, and let another process count."""
        self._wait_for_extender()
        if self._file is not None:
            self._promised = self._last
            self._keeper = "closed"
            self._record(sync=True)
            self._file.close()
            self._file = None
        if self._claim is not None:
            self._claim.close()

    def _open(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._claim = (folder / f"{self._node}.lock").open("ab")
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin(folder / f"{self._node}.seq")
            self.folder = folder
        except BlockingIOError as error:
            raise ConfigError(
                f"another daemon runs as node {self._node!r} with state_dir {folder}: stop it first"
            ) from error
        except OSError as error:
            if error.errno not in _DISK:
                raise ConfigError(f"state_dir {folder} is not usable: {error.strerror}") from error
            self._do_without(folder / f"{self._node}.seq")
            log.warning(
                "state_dir %s cannot be written (%s): the event counter and events that wait are kept in memory only; "
                "make room or give the user the rights, or set another state_dir",
                folder,
                error.strerror,
            )

    def _do_without(self, path: Path) -> None:
        with suppress(OSError):
            if self._file is None:
                self._start_after(path)
            elif not path.stat().st_size:
                path.unlink()  # otherwise it would look damaged next time
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start_after(self, path: Path) -> None:
        record = _read(path)
        alive = record.boot == self._boot != _UNKNOWN
        self._doubtful = record.keeper == "damaged"
        self._pending, self._floor = record.keeper == "outbox" and alive, record.last
        exact = record.keeper == "closed" or (record.keeper == "here" and alive)
        self._last = record.last if exact else record.reserved

    def _begin(self, path: Path) -> None:
        """Before the first number: the first reservation, and the folder's entry, reach the disk."""
        self._start_after(path)
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b", buffering=0)
        path.chmod(0o600)
        self._keeper = "outbox" if self._pending else "here"
        self._shown, self._promised = self._last, self._last + BLOCK
        self._write()
        os.ftruncate(self._file.fileno(), _LENGTH)
        os.fsync(self._file.fileno())
        sync_folder(path.parent)
        self._reserved = self._promised

    def _extend(self) -> None:
        """Reserve further numbers; they count as reserved only when the disk has it."""
        now = time.monotonic()
        hurry = now - self._extended_at < 10
        self._block = min(self._block * 2, LARGEST_BLOCK) if hurry else BLOCK
        self._extended_at = now
        with self._guard:
            self._promised = target = max(self._last, self._promised) + self._block
        self._record(sync=True)
        self._reserved = target  # also if it failed, which was logged: the events are worth more than their numbers
        self._extender = None

    def _wait_for_extender(self) -> None:
        extender = self._extender
        if extender is not None:
            extender.join()

    def _keep(self, keeper: str) -> None:
        with self._guard:
            self._keeper = keeper
        self._record()

    def _record(self, sync: bool = False) -> None:
        try:
            self._write()
            if sync and self._file is not None:
                os.fsync(self._file.fileno())
        except OSError as error:
            if not self._failing:
                log.error("cannot save the event counter of node %s: %s", self._node, error.strerror)
            self._failing = True
        else:
            self._failing = False

    def _write(self) -> None:
        with self._guard:
            if self._file is None:
                return
            last = self._floor if self._keeper == "outbox" else self._last
            record = _Record(last, self._promised, self._keeper, self._boot)
            os.pwrite(self._file.fileno(), record.dump(), 0)


def _read(path: Path) -> _Record:
    """The record, or that of a counter that has not begun. Raises OSError."""
    try:
        fields = path.read_bytes()[:_LENGTH].decode(errors="replace").split()
    except FileNotFoundError:
        return _Record(0, 0, "closed", _UNKNOWN)
    numbers = [int(field) for field in fields[:2] if re.fullmatch("[0-9]{1,15}", field)]
    if len(fields) == len(numbers) == 1:  # of version 1.0: only the number
        return _Record(numbers[0], numbers[0], "closed", _UNKNOWN)
    if len(fields) == 4 and len(numbers) == 2:
        return _Record(numbers[0], numbers[1], fields[2], fields[3])
    log.warning("%s is damaged: event numbers start again at 1, or after those that the outbox knows", path)
    return _Record(0, 0, "damaged", _UNKNOWN)


def _boot() -> str:
    """Differs after each start of the machine; ``_UNKNOWN`` if that cannot be known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _UNKNOWN

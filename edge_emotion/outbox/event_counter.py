"""The node's event counter, which goes on where it was after a restart, a crash and a power cut."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from pathlib import Path

from edge_emotion.errors import ConfigError, SinkError
from edge_emotion.outbox.counter_record import CounterRecord
from edge_emotion.outbox.node_lock import NodeLock
from edge_emotion.outbox.recovery import StateFiles, last_readable, recover, remove_old_counter
from edge_emotion.outbox.renaming import continue_under
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.system.clock import boot_id
from edge_emotion.system.private_file import make_private_folder

log = logging.getLogger(__name__)

BLOCK, LARGEST_BLOCK = 64, 4096
"""Numbers reserved at a time; a power cut skips fewer than 1.5 times as many. More if they last less than 10 s."""

LOOK = 1.0
"""Seconds between two looks at whether the state directory is still there."""

_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Faults of a folder that is the right one."""


class EventCounter:
    """Counts 1, 2, 3 ...; kept in the state directory, which one process at a time may use for a node.

    Numbers are reserved ahead, on the disk, in a table of the outbox file ``<node>.outbox.db``. The last one is also
    written in place to ``<node>.lock``, without a sync, when it may be shown: after a clean stop and after the death
    of the process counting goes on with the next number; after a power cut, or if one of the two is damaged, with one
    that was certainly never used. In memory only without a directory, or, which is logged, in one that cannot be
    written. Raises ConfigError if the directory cannot be one or another process counts for this node.
    """

    def __init__(self, folder: Path | None, node: str = "node", boot: str | None = None) -> None:
        """``boot`` is the machine's boot id unless given."""
        self.folder: Path | None = None
        """Where the node's state is kept; None if it is not."""
        self.store: OutboxFile | None = None
        """The outbox file; open until ``close``, unless the disk fails."""
        self.shown_elsewhere = False
        """True if events also go to a receiver that does not wait for the outbox."""
        self.node = node
        """The node whose events are counted."""
        self._guard = threading.Lock()
        self._lock: NodeLock | None = None
        self._last = self._shown = self._recorded = self._reserved = self._promised = 0
        self._block, self._extended_at = BLOCK, 0.0
        self._extender: threading.Thread | None = None
        self._handed_over = False
        self._failing: set[str] = set()
        self._look_at = 0.0
        self._boot = boot or boot_id()
        if folder is not None:
            self._open(folder)

    def __call__(self) -> int:
        """The next number."""
        self._last += 1
        return self._last

    def save(self) -> None:
        """Remember the numbers so far: they may be shown after it. No sync, but for what is reserved ahead."""
        if self._lock is None or self._last == self._shown:
            return
        if self._last > self._reserved:
            self._wait_for_extender()
            if self._last > self._reserved:
                self._extend()
        elif self._is_due():
            self._extender = threading.Thread(target=self._extend, name="event-counter", daemon=True)
            self._extender.start()
        self._shown = self._last
        if not self._stored_first:
            self._record(self._shown)

    def hand_over(self) -> None:
        """From now on the outbox stores each event before it is sent. From any thread.

        No change if events are also ``shown_elsewhere``.
        """
        if self.store is not None and self.store.counter is None:  # a new file, after the disk has failed
            self._save_table()
        self._handed_over = True
        self._note_stored()

    def take_back(self) -> None:
        """The outbox has stopped storing: a number may be shown when it is saved. From any thread."""
        self._handed_over = False
        self._record(self._shown)

    def interrupted(self) -> list[bytes]:
        """Last events of the tracks that were open when the last process was killed, as they are stored.

        After their ``end`` is handed over to all sinks, ``ends_are_made`` is to be called.
        """
        return [] if self.store is None else list(self.store.open_tracks)

    def ends_are_made(self) -> None:
        """Forget the interrupted tracks, unless the outbox does so when it stores their ends. Failures are logged."""
        if self.store is None or not self.store.open_tracks:
            return
        if self._handed_over:
            self.store.open_tracks = []
            return
        try:
            self.store.forget_tracks()
        except (OSError, sqlite3.Error) as error:
            self._fails("tracks", error)

    def close(self) -> None:
        """Remember exactly where it stopped, and let another process count."""
        self._wait_for_extender()
        if self._lock is None:
            return
        with self._guard:
            self._recorded = self._promised = max(self._last, self._recorded)
        self._write(closed=True)
        self._lock.close()
        self._lock = None

    def _note_stored(self) -> None:
        """The outbox has changed: events may be sent up to its mark. In the thread that writes it."""
        if self.store is not None:
            self._record((self.store.mark or 0) if self._stored_first else self._shown)

    @property
    def _stored_first(self) -> bool:
        """True if a number is shown only after the outbox has stored it."""
        return self._handed_over and not self.shown_elsewhere

    def _open(self, folder: Path) -> None:
        files = StateFiles(folder, self.node)
        try:
            make_private_folder(folder)
            continue_under(folder, self.node)
            self._lock = NodeLock(files.lock)
            self._begin(files)
            self.folder = folder
        except BlockingIOError as error:
            raise ConfigError(
                f"another daemon runs as node {self.node!r} with state_dir {folder}: stop it first"
            ) from error
        except SinkError:
            self._give_up()
            raise
        except (OSError, sqlite3.Error) as error:
            self._give_up()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            if isinstance(error, OSError) and error.errno not in _DISK:
                raise ConfigError(f"state_dir {folder} is not usable: {reason}") from error
            self._last = self._last or last_readable(files, self._boot)
            log.warning(
                "state_dir %s cannot be written (%s): the event counter and events that wait are kept in memory only; "
                "make room or give the user the rights, or set another state_dir",
                folder,
                reason,
            )

    def _begin(self, files: StateFiles) -> None:
        """Before the first number: where counting goes on, and the first reservation on the disk.

        In this order: a kill or power cut between two steps loses no number and uses none twice.
        """
        assert self._lock is not None
        self.store = OutboxFile(files.outbox, self._boot)
        self.store.ensure_open()
        self.store.on_change = self._note_stored
        self._last = self._shown = self._recorded = self._promised = recover(files, self.store, self._boot)
        self._lock.write(self._make_record())
        self._promised = self._last + BLOCK
        self.store.save_counter(self._make_record())
        self.store.sync()
        self._reserved = self._promised
        self._lock.write(self._make_record())
        self._lock.sync()
        remove_old_counter(files)

    def _give_up(self) -> None:
        for each in (self.store, self._lock):
            if each is not None:
                each.close()
        self.store = self._lock = None

    def _is_due(self) -> bool:
        """True if there is work for the other thread: few numbers are left, or the state directory was deleted."""
        if self._extender is not None:
            return False
        if self._promised - self._last < self._block // 2:
            return True
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + LOOK
        return self._lock is not None and self._lock.is_gone()

    def _extend(self) -> None:
        """Reserve further numbers; they count as reserved only when the disk has it."""
        now = time.monotonic()
        hurry = now - self._extended_at < 10
        self._block = min(self._block * 2, LARGEST_BLOCK) if hurry else BLOCK
        self._extended_at = now
        self._make_again()
        with self._guard:
            self._promised = target = max(self._last, self._promised) + self._block
        self._save_table()
        self._reserved = target  # also if it failed, which was logged: the events are worth more than their numbers
        self._extender = None

    def _make_again(self) -> None:
        """If the state directory was deleted: make it, and its files, anew."""
        if self._lock is None or self.store is None or not self._lock.is_gone():
            return
        log.error(
            "%s was deleted while it was in use: it is made again; do not delete the state directory of a node that "
            "runs",
            self._lock.path,
        )
        try:
            make_private_folder(self._lock.path.parent)
            fresh = NodeLock(self._lock.path)
            with self._guard:
                self._lock.close()
                self._lock = fresh
            if not self._handed_over and self.store.is_gone():
                self.store.close()
                self.store.ensure_open()
        except (OSError, sqlite3.Error) as error:
            self._fails("folder", error)
        else:
            self._failing.discard("folder")

    def _wait_for_extender(self) -> None:
        extender = self._extender
        if extender is not None:
            extender.join()

    def _save_table(self) -> None:
        """On the disk when this returns; a failure is logged."""
        assert self.store is not None
        try:
            with self._guard:
                record = self._make_record()
            self.store.save_counter(record)
            self.store.sync()
        except (OSError, sqlite3.Error) as error:
            self._fails("table", error)
        else:
            self._failing.discard("table")
        self._record(0)

    def _record(self, last: int) -> None:
        """In the lock file, without a sync: up to ``last`` numbers may be shown. A failure is logged."""
        try:
            with self._guard:
                self._recorded = max(self._recorded, last)
                if self._lock is not None:
                    self._lock.write(self._make_record())
        except OSError as error:
            self._fails("copy", error)
        else:
            self._failing.discard("copy")

    def _write(self, closed: bool) -> None:
        assert self.store is not None and self._lock is not None
        record = self._make_record(closed)
        try:
            self.store.ensure_open()
            self.store.save_counter(record)
        except (OSError, sqlite3.Error) as error:
            self._fails("table", error)
        self.store.close()
        try:
            self._lock.write(record)
            self._lock.sync()
        except OSError as error:
            self._fails("copy", error)

    def _make_record(self, closed: bool = False) -> CounterRecord:
        mark, waiting = (None, 0) if self.store is None else (self.store.mark, max(0, self.store.waiting))
        return CounterRecord(self._recorded, self._promised, closed, self._boot, mark, waiting)

    def _fails(self, part: str, error: Exception) -> None:
        """Log a failure once, until all parts can be saved again."""
        if not self._failing:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            log.error("cannot save the event counter of node %s: %s", self.node, reason)
        self._failing.add(part)

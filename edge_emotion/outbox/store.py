"""The outbox on disk: one SQLite file that outlives the process, and, up to the last ``sync``, a power cut."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_emotion.errors import SinkError
from edge_emotion.outbox import schema
from edge_emotion.outbox.counter_record import CounterRecord
from edge_emotion.outbox.damage import BESIDE, move_aside, rescue
from edge_emotion.outbox.open_tracks import OpenTracks
from edge_emotion.outbox.outbox import Entry
from edge_emotion.outbox.rows import Row, boot_number, emptied, to_entry, to_rows
from edge_emotion.system.atomic_file import sync_folder
from edge_emotion.system.clock import boot_id
from edge_emotion.system.private_file import is_gone, move_aside_unless_regular, open_private

_log = logging.getLogger("edge_emotion.sinks.mqtt")

_TROUBLE = ("locked", "full", "unable to open", "disk I/O")
"""Messages of SQLite when the file is not at fault but the disk or another process. A file that cannot be written has
been found out before; "readonly" means then that its header is damaged."""

LOOK = 1.0
"""Seconds between two looks at whether the file is still there."""


class OutboxFile:
    """Events by number, and the node's event counter; of the one process that has it open. Thread-safe.

    A commit is a plain write: it survives the death of the process. Only ``sync``, and SQLite's checkpoint every
    two thousand pages, make the disk take it over, so events that are acknowledged at once cost it next to nothing
    (https://sqlite.org/wal.html, "synchronous=NORMAL").

    The newest row stays, without its payload, when its event has gone: its ``mark`` is the highest ``seq`` that
    was ever stored. One page is written for that, not the two of a table of its own.
    """

    def __init__(self, path: Path, boot: str | None = None) -> None:
        """``path`` need not exist; its folder must. ``boot`` is the machine's boot id unless given."""
        self.path = path
        self.mark: int | None = None
        """The highest ``seq`` that was ever stored; None if none was."""
        self.waiting = 0
        """Events in the file."""
        self.token = ""
        """Eight random hexadecimal digits that stay with this file."""
        self.lost = 0
        """Events that the file held and that could not be read, since the start."""
        self.counter: CounterRecord | None = None
        """The event counter's record; None if the file has none."""
        self.damaged = False
        """True if the event counter's record, or the whole file, was found damaged."""
        self.open_tracks: list[bytes] = []
        """Last events of the tracks that had not ended when the file was opened."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when ``mark`` or ``waiting`` has changed, in the thread that writes."""
        self._lock = threading.RLock()
        self._boot = boot_number(boot or boot_id())
        self._newest, self._newest_is_empty = -1, False
        self._unclaimed: list[Entry] = []
        self._tracks = OpenTracks()
        self._connection: sqlite3.Connection | None = None
        self._handle = self._wal = -1
        self._look_at = 0.0
        self._announced: int | None = None

    def open(self) -> list[Entry]:
        """Open or begin the file, unless it is open; returns what waits in it and was not returned yet, oldest first.

        A damaged or foreign file is moved aside, after events that are intact were taken out of it. Raises SinkError
        if another process has it open, OSError or sqlite3.Error if the disk cannot be written.
        """
        with self._lock:
            self.ensure_open()
            entries, self._unclaimed = self._unclaimed, []
        return entries

    def ensure_open(self) -> None:
        """As ``open``, which is still to be called for what waits in the file."""
        with self._lock:
            if self._connection is None:
                self._unclaimed = self._open_or_begin()

    def count_missing(self, copy: CounterRecord) -> None:
        """Compare the file with a record that was written after each change; count and log losses.

        Damage to the end of SQLite's write-ahead log is silent otherwise: the file is then an older one.
        """
        newest = self.mark or 0
        if copy.mark is not None and copy.mark >= newest:
            most = copy.mark - newest if copy.mark > newest else max(0, copy.waiting - self.waiting)
            missing = max(0, min(copy.waiting, most) - self.lost)
            self.lost += missing
            if missing or copy.mark > newest:
                _log.warning(
                    "the newest changes of %s were damaged: %d events that waited in it are lost, and others may be "
                    "sent once more",
                    self.path,
                    missing,
                )

    def write(self, new: Sequence[Entry], gone: Sequence[int]) -> None:
        """Store the new ones, delete the gone ones, as one transaction. Raises sqlite3.Error, OSError."""
        waiting = self.waiting + len(new) - len(gone)
        if not new:
            self._announce(waiting)
        with self._transaction() as connection:
            kept = new[-1].number if new else self._newest
            if new and self._newest_is_empty:  # it was only kept for its mark
                connection.execute("DELETE FROM event WHERE number = ?", (self._newest,))
            if gone:
                connection.executemany("DELETE FROM event WHERE number = ?", ((n,) for n in gone if n != kept))
            mark = self._insert(connection, new)
            tracks = self._tracks.write(connection, (entry.payload for entry in new))
            if kept in gone:
                connection.execute("DELETE FROM event WHERE number = ?", (kept,))
                schema.insert(connection, [emptied(kept, mark or 0)])
        self._tracks.commit(tracks)
        self.mark, self._newest = mark, kept
        self._newest_is_empty = kept in gone or (self._newest_is_empty and not new)
        self._announce(waiting)

    def replace(self, entries: Sequence[Entry], tracks: Sequence[bytes] = ()) -> None:
        """Forget all events and tracks and store these. Raises sqlite3.Error, OSError."""
        self._announce(0)
        with self._transaction() as connection:
            connection.execute("DELETE FROM event")
            mark, newest = self._insert(connection, entries), entries[-1].number if entries else -1
            if not entries and mark is not None:
                newest = 0
                schema.insert(connection, [emptied(newest, mark)])
            places = self._tracks.replace(connection, tracks)
        self._tracks.commit(places)
        self.mark, self._newest, self._newest_is_empty = mark, newest, not entries
        self._announce(len(entries))

    def forget_tracks(self) -> None:
        """No track is open. Raises sqlite3.Error, OSError."""
        self.open_tracks = []
        with self._transaction() as connection:
            places = self._tracks.replace(connection, ())
        self._tracks.commit(places)

    def save_counter(self, record: CounterRecord) -> None:
        """Replace the event counter's record. Raises sqlite3.Error, OSError."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM counter")
            connection.execute("INSERT INTO counter VALUES (?)", (record.dump(),))
        self.counter = record

    def sync(self) -> None:
        """Return when the disk has everything that was written. Raises OSError."""
        with self._lock:
            if self._wal < 0 and self._beside("-wal").exists():
                self._wal = os.open(self._beside("-wal"), os.O_RDONLY | os.O_CLOEXEC)
                sync_folder(self.path.parent)
            if self._wal < 0:  # SQLite does not use WAL on this file system, and syncs by itself
                return
            wal = os.dup(self._wal)
        try:
            os.fsync(wal)  # without the lock: others may write meanwhile
        finally:
            os.close(wal)

    def is_gone(self) -> bool:
        """True if the file was deleted or replaced while it is open."""
        return self._handle >= 0 and is_gone(self.path, self._handle)

    def close(self) -> None:
        """Move the write-ahead log into the file, as far as the disk allows, and close both. Never raises."""
        with self._lock:
            if self._connection is not None:
                with suppress(Exception):  # damaged text in a message of SQLite is a UnicodeDecodeError
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                with suppress(Exception):
                    self._connection.close()
            for handle in (self._wal, self._handle):
                if handle >= 0:
                    os.close(handle)
            self._handle = self._wal = -1
            self._connection = None

    def _announce(self, waiting: int) -> None:
        """Before events are only deleted, and after others are stored: the copy never counts more than the file.

        If both happen at once, the file's ``mark`` is newer than the copy's.
        """
        if waiting != self.waiting or self.mark != self._announced:
            self._announced = self.mark
            self.waiting = waiting
            self.on_change()

    def _open_or_begin(self) -> list[Entry]:
        try:
            return self._open()
        except (SinkError, MemoryError):
            self.close()
            raise
        except Exception as error:  # damage may lead to any kind
            if isinstance(error, OSError) or (
                isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _TROUBLE)
            ):
                self.close()
                if "locked" in str(error):
                    raise SinkError(f"another process uses the outbox {self.path}: stop it first") from error
                raise
            rescued = rescue(self._connection)
            self.close()
            move_aside(self.path, error, len(rescued.rows))
        self._open()
        self.damaged = True
        self._count_lost(rescued.missing)
        return self._put_back(rescued.rows, rescued.tracks)

    def _open(self) -> list[Entry]:
        for suffix in BESIDE:
            move_aside_unless_regular(self._beside(suffix))
        self._handle = open_private(self.path)  # here because SQLite would follow a link and let others read it
        self._connection = connection = sqlite3.connect(
            self.path, timeout=0.0, isolation_level=None, check_same_thread=False
        )
        connection.text_factory = _decode
        connection.execute("PRAGMA page_size = 2048")  # of a new file; an event or two on the page that a commit writes
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        with self._transaction("EXCLUSIVE"):
            lost = schema.prepare(connection)
            rows = self._read(connection)
            self.open_tracks, broken = self._tracks.load(connection)
            good = [row for row in rows if row.is_intact()]
            connection.executemany(
                "DELETE FROM event WHERE number = ?", ((row.number,) for row in rows if not row.is_intact())
            )
        self._take(good)
        self._count_lost(lost + len(rows) - len(good))
        if broken:
            _log.warning("%d open tracks in %s are damaged: they get no end", broken, self.path)
        return self._entries(good)

    def _read(self, connection: sqlite3.Connection) -> list[Row]:
        self.token = schema.read_token(connection)
        if not self.token:
            self.token = secrets.token_hex(4)
            schema.write_token(connection, self.token)
            _log.warning("the client id in %s is damaged: a new one is used", self.path)
        self.counter = None
        for (line,) in connection.execute("SELECT record FROM counter").fetchall():
            try:
                self.counter = CounterRecord.parse(str(line))
            except ValueError:
                self.damaged = True
        return schema.read_rows(connection)

    def _take(self, rows: Sequence[Row]) -> None:
        self.mark = max((row.mark for row in rows), default=None)
        self._newest = rows[-1].number if rows else -1
        self._newest_is_empty = bool(rows) and rows[-1].payload is None
        self.waiting = sum(row.payload is not None for row in rows)

    def _entries(self, rows: Sequence[Row]) -> list[Entry]:
        return [entry for entry in map(to_entry(self._boot), rows) if entry.payload]

    def _count_lost(self, count: int) -> None:
        self.lost += count
        if count:
            _log.warning("%d events in %s are damaged and dropped", count, self.path)

    def _put_back(self, rows: Sequence[Row], tracks: Sequence[bytes]) -> list[Entry]:
        with self._transaction() as connection:
            schema.insert(connection, list(rows))
            places = self._tracks.replace(connection, tracks)
        self._tracks.commit(places)
        self.open_tracks = list(tracks)
        self._take(rows)
        return self._entries(rows)

    def _insert(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> int | None:
        rows = list(to_rows(entries, self.mark, self._boot))
        schema.insert(connection, rows)
        return rows[-1].mark if rows else self.mark

    @contextmanager
    def _transaction(self, kind: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                raise sqlite3.OperationalError("the outbox is not open")
            if self._is_due() and self.is_gone():
                raise FileNotFoundError(errno.ENOENT, "the file was deleted while it was in use")
            self._connection.execute(f"BEGIN {kind}")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(Exception):
                    self._connection.execute("ROLLBACK")
                raise

    def _is_due(self) -> bool:
        """True once in ``LOOK`` s."""
        now = time.monotonic()
        due = now >= self._look_at
        if due:
            self._look_at = now + LOOK
        return due

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


def _decode(text: bytes) -> str:
    """Damaged text is found by its checksum, not by an exception."""
    return text.decode("utf-8", "replace")

"""The outbox on disk: one SQLite file that outlives the process, and, up to the last ``sync``, a power cut."""

from __future__ import annotations

import logging
import os
import re
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edge_emotion.errors import SinkError
from edge_emotion.outbox.outbox import Entry
from edge_emotion.system.atomic_file import sync_folder
from edge_emotion.wire.topics import NAME_PATTERN

_log = logging.getLogger("edge_emotion.sinks.mqtt")

_OURS = 0x45454F42
"""SQLite's application_id of our files: EEOB."""

_VERSION = 1

_SCHEMA = f"""
BEGIN;
CREATE TABLE event (
    number INTEGER PRIMARY KEY, mark INTEGER NOT NULL, at REAL NOT NULL, camera TEXT NOT NULL, crc INTEGER, payload BLOB
);
CREATE TABLE client (token TEXT NOT NULL);
PRAGMA application_id = {_OURS};
PRAGMA user_version = {_VERSION};
COMMIT;
"""

_TROUBLE = ("locked", "full", "unable to open", "disk I/O")
"""What SQLite says when the file is not at fault but the disk or another process. A file that cannot be written has
been found out before; "readonly" means then that its header is damaged."""


class OutboxFile:
    """Events by number; written by one thread at a time, of the one process that has it open.

    A commit is a plain write: it survives the death of the process. Only ``sync``, and SQLite's checkpoint every
    two thousand pages, make the disk take it over, so events that are acknowledged at once cost it next to nothing
    (https://sqlite.org/wal.html, "synchronous=NORMAL").

    The newest row stays, without its payload, when its event has gone: its ``mark`` is the highest ``seq`` that
    was ever stored. One page is written for that, not the two of a table of its own.
    """

    def __init__(self, path: Path) -> None:
        """``path`` need not exist; its folder must."""
        self.path = path
        self.mark: int | None = None
        """The highest ``seq`` that was ever stored; None if none was."""
        self.token = ""
        """Eight random hexadecimal digits that stay with this file."""
        self.lost = 0
        """Events that the file held and that could not be read."""
        self._newest = -1
        self._connection: sqlite3.Connection | None = None
        self._wal: int | None = None

    def open(self) -> list[Entry]:
        """Open or begin the file; returns what waits in it, oldest first.

        A damaged or foreign file is moved aside. Raises SinkError if another process has it open, OSError or
        sqlite3.Error if the disk does not let us write.
        """
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            self.close()
            if "locked" in str(error):
                raise SinkError(f"another process uses the outbox {self.path}: stop it first") from error
            if isinstance(error, sqlite3.OperationalError) and any(words in str(error) for words in _TROUBLE):
                raise
            self._move_aside(error)
        return self._open()

    def write(self, new: Sequence[Entry], gone: Sequence[int]) -> None:
        """Store the new ones, delete the gone ones, as one transaction. Raises sqlite3.Error."""
        with self._transaction() as connection:
            kept = new[-1].number if new else self._newest
            if new and self._newest >= 0:  # perhaps only kept for its mark
                connection.execute("DELETE FROM event WHERE number = ? AND payload IS NULL", (self._newest,))
            connection.executemany("DELETE FROM event WHERE number = ?", ((n,) for n in gone if n != kept))
            mark = self._insert(connection, new)
            if kept in gone:
                connection.execute("UPDATE event SET payload = NULL WHERE number = ?", (kept,))
        self.mark, self._newest = mark, kept

    def replace(self, entries: Sequence[Entry]) -> None:
        """Forget all events and store these. Raises sqlite3.Error."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM event")
            mark = self._insert(connection, entries)
        self.mark, self._newest = mark, entries[-1].number if entries else -1

    def sync(self) -> None:
        """Returns when the disk has everything that was written. Raises OSError."""
        if self._wal is None and self._wal_path.exists():
            self._wal = os.open(self._wal_path, os.O_RDONLY | os.O_CLOEXEC)
            sync_folder(self.path.parent)
        if self._wal is not None:  # without it SQLite does not use WAL on this file system, and syncs by itself
            os.fsync(self._wal)

    def close(self) -> None:
        """Leave one synced file behind, as far as the disk allows. Never raises."""
        if self._wal is not None:
            os.close(self._wal)
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with suppress(sqlite3.Error):
                self._connection.close()
        self._wal = self._connection = None

    @property
    def _wal_path(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _open(self) -> list[Entry]:
        with suppress(FileExistsError):  # created here because SQLite would let others read it
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self.path.chmod(0o600)
        connection = sqlite3.connect(self.path, timeout=0.0, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.execute("PRAGMA page_size = 2048")  # of a new file; an event or two on the page that a commit writes
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 2000")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        if _number(connection, "PRAGMA application_id") == 0 and not _number(
            connection, "SELECT count(*) FROM sqlite_master"
        ):
            connection.executescript(_SCHEMA)
            connection.execute("INSERT INTO client VALUES (?)", (secrets.token_hex(4),))
        return self._read(connection)

    def _read(self, connection: sqlite3.Connection) -> list[Entry]:
        ours = (_number(connection, "PRAGMA application_id"), _number(connection, "PRAGMA user_version"))
        if ours != (_OURS, _VERSION):
            raise sqlite3.DatabaseError("it is not an outbox of this version")
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict).replace("\n", " "))
        token = connection.execute("SELECT token FROM client").fetchone()
        if token is None or not re.fullmatch("[0-9a-f]{8}", str(token[0])):
            raise sqlite3.DatabaseError("its client is missing")
        self.token = token[0]
        self.mark = connection.execute("SELECT max(mark) FROM event").fetchone()[0]
        self._newest = _number(connection, "SELECT ifnull(max(number), -1) FROM event")
        rows = connection.execute("SELECT number, at, camera, crc, payload FROM event ORDER BY number").fetchall()
        return self._entries([row for row in rows if row[4] is not None])

    def _entries(self, rows: list[tuple[Any, ...]]) -> list[Entry]:
        """The rows that are what they were; a bit that has flipped must not become an event."""
        now, clock = time.monotonic(), time.time()
        good = [
            # A clock that stood further back then, or was set back since, makes nothing younger than new.
            Entry(number, 0, camera, payload, now - max(0.0, clock - at))
            for number, at, camera, crc, payload in rows
            if isinstance(at, float)
            and isinstance(camera, str)
            and isinstance(payload, bytes)
            and re.fullmatch(NAME_PATTERN, camera)
            and zlib.crc32(payload) == crc
        ]
        self.lost += len(rows) - len(good)
        if len(good) < len(rows):
            _log.warning("%d events in %s are damaged and dropped", len(rows) - len(good), self.path)
        return good

    def _insert(self, connection: sqlite3.Connection, entries: Sequence[Entry]) -> int | None:
        offset, mark, rows = time.time() - time.monotonic(), self.mark, []
        for entry in entries:
            mark = entry.seq if mark is None else max(mark, entry.seq)
            crc = zlib.crc32(entry.payload)
            rows.append((entry.number, mark, entry.since + offset, entry.camera, crc, entry.payload))
        connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?)", rows)
        return mark

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._connection is None:
            raise sqlite3.OperationalError("the outbox is not open")
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _move_aside(self, error: sqlite3.Error) -> None:
        """One such file is kept, not one for each accident: a disk has an end."""
        aside = self.path.with_name(self.path.name + ".damaged")
        self.path.replace(aside)
        for suffix in ("-wal", "-journal", "-shm"):
            with suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).replace(aside.with_name(aside.name + suffix))
        _log.warning("%s cannot be read (%s): moved to %s, a new outbox begins", self.path, error, aside.name)


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])

"""Tables of the outbox file: made, taken over from the first version, and checked."""

from __future__ import annotations

import re
import secrets
import sqlite3
import zlib
from contextlib import suppress

from edge_emotion.outbox.open_tracks import TABLE
from edge_emotion.outbox.rows import COLUMNS, Row, from_version_1

OURS = 0x45454F42
"""SQLite's application_id of our files: EEOB."""

VERSION = 3

_TABLES = (
    "CREATE TABLE event (number INTEGER PRIMARY KEY, mark INTEGER NOT NULL, at REAL, since REAL NOT NULL,"
    " boot INTEGER NOT NULL, camera TEXT NOT NULL, crc INTEGER NOT NULL, payload BLOB)",
    "CREATE TABLE client (token TEXT NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE counter (record TEXT NOT NULL)",
    TABLE,
    f"PRAGMA application_id = {OURS}",
    f"PRAGMA user_version = {VERSION}",
)


def number(connection: sqlite3.Connection, query: str) -> int:
    """The one number that ``query`` gives."""
    return int(connection.execute(query).fetchone()[0])


def identify(connection: sqlite3.Connection) -> tuple[int, int]:
    """Application id and version of the file."""
    return number(connection, "PRAGMA application_id"), number(connection, "PRAGMA user_version")


def prepare(connection: sqlite3.Connection) -> int:
    """Make the tables in an empty file, or take those of an earlier version over; returns how many events that lost.

    In a transaction of the caller. Raises sqlite3.DatabaseError for a file that is damaged or not an outbox.
    """
    identity = identify(connection)
    if identity[0] == 0 and not number(connection, "SELECT count(*) FROM sqlite_master"):
        _make(connection, secrets.token_hex(4))
        return 0
    if identity[0] != OURS or not 1 <= identity[1] <= VERSION:
        raise sqlite3.DatabaseError("it is not an outbox of this version")
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise sqlite3.DatabaseError(str(verdict).replace("\n", " "))
    if identity[1] == 2:  # as today, without the table of open tracks
        connection.execute(TABLE)
        connection.execute(f"PRAGMA user_version = {VERSION}")
    return _take_over(connection) if identity[1] == 1 else 0


def insert(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Add rows to the table of events."""
    connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def read_token(connection: sqlite3.Connection) -> str:
    """The file's own eight hexadecimal digits; empty if they are damaged."""
    found = connection.execute("SELECT token, crc FROM client").fetchone()
    token = "" if found is None else str(found[0])
    return token if found and re.fullmatch("[0-9a-f]{8}", token) and zlib.crc32(token.encode()) == found[1] else ""


def write_token(connection: sqlite3.Connection, token: str) -> None:
    """Replace the token."""
    connection.execute("DELETE FROM client")
    connection.execute("INSERT INTO client VALUES (?, ?)", (token, zlib.crc32(token.encode())))


def read_rows(connection: sqlite3.Connection) -> list[Row]:
    """All rows, oldest first."""
    return [Row(*values) for values in connection.execute(_all_rows("ASC"))]


def intact_rows(connection: sqlite3.Connection, order: str) -> dict[int, Row]:
    """Rows of a damaged file by number, read in ``order`` (ASC or DESC) until that fails."""
    rows = {}
    with suppress(Exception):
        for values in connection.execute(_all_rows(order)):
            row = Row(*values)
            if row.is_intact():
                rows[row.number] = row
    return rows


def _all_rows(order: str) -> str:
    return f"SELECT {COLUMNS} FROM event ORDER BY number {order}"  # noqa: S608 - two constants


def _make(connection: sqlite3.Connection, token: str) -> None:
    for statement in _TABLES:
        connection.execute(statement)
    write_token(connection, token)


def _take_over(connection: sqlite3.Connection) -> int:
    old = connection.execute("SELECT number, mark, at, camera, crc, payload FROM event ORDER BY number").fetchall()
    token = connection.execute("SELECT token FROM client").fetchone()
    connection.execute("DROP TABLE event")
    connection.execute("DROP TABLE client")
    kept = bool(token) and re.fullmatch("[0-9a-f]{8}", str(token[0]))
    _make(connection, token[0] if kept else secrets.token_hex(4))
    rows = [row for row in (from_version_1(*values) for values in old) if row is not None]
    insert(connection, rows)
    return len(old) - len(rows)

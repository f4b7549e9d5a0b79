"""A damaged outbox file: what is intact is taken out of it, and it is moved aside."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edge_emotion.outbox import open_tracks, schema
from edge_emotion.outbox.rows import Row

_log = logging.getLogger("edge_emotion.sinks.mqtt")

BESIDE = ("-wal", "-journal", "-shm")
"""Endings of SQLite's files beside a database."""


@dataclass(frozen=True, slots=True)
class Rescued:
    """Intact rows, how many others can be seen to be missing, and the last events of open tracks."""

    rows: Sequence[Row] = ()
    missing: int = 0
    tracks: Sequence[bytes] = ()


def rescue(connection: sqlite3.Connection | None) -> Rescued:
    """The intact content of a damaged file of this version; nothing of another file."""
    rows: dict[int, Row] = {}
    count = 0
    tracks: Sequence[bytes] = ()
    with suppress(Exception):
        if connection is not None and schema.identify(connection) == (schema.OURS, schema.VERSION):
            for order in ("ASC", "DESC"):  # up to the damage from either side
                rows |= schema.intact_rows(connection, order)
            tracks = tuple(open_tracks.rescue(connection))
            count = schema.number(connection, "SELECT count(*) FROM event")
    return Rescued([rows[number] for number in sorted(rows)], max(0, count - len(rows)), tracks)


def move_aside(path: Path, error: Exception, intact: int) -> None:
    """Rename a damaged file to ``.damaged``, over an earlier one; ``intact``: events to log as kept. Raises OSError."""
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    for suffix in BESIDE:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    _log.warning(
        "%s cannot be read (%s): moved to %s, a new outbox begins with the %d events that are intact",
        path,
        error,
        aside.name,
        intact,
    )

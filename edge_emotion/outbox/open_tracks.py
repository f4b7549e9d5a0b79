"""Tracks that have begun and not ended, as of the events that are stored: a table of the outbox file.

Their ``end`` is missing if the process is killed; the next one makes it up from the last event of each.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress

from edge_emotion.wire.payloads import track_of

TABLE = "CREATE TABLE track (number INTEGER PRIMARY KEY, crc INTEGER NOT NULL, payload BLOB NOT NULL)"
"""``payload`` is the last event of a track, ``crc`` its CRC-32; one page is written for most events."""

Changed = dict[bytes, bytes | None]
"""Id of a track -> its last event; None: it has ended."""


def follow(open_tracks: dict[bytes, bytes], payload: bytes) -> None:
    """Add an event to the last events of open tracks, by the tracks' ids."""
    for track, last in changed_by([payload]).items():
        if last is None:
            open_tracks.pop(track, None)
        else:
            open_tracks[track] = last


def changed_by(payloads: Iterable[bytes]) -> Changed:
    """The effect of events, in their order."""
    changed: Changed = {}
    for payload in payloads:
        found = track_of(payload)
        if found is not None:
            kind, track = found
            changed[track] = None if kind == b"end" else payload
    return changed


class OpenTracks:
    """The table of one open file, and where each track is in it. The transactions are the caller's.

    ``write`` and ``replace`` give what ``commit`` takes when the transaction has succeeded.
    """

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def write(self, connection: sqlite3.Connection, payloads: Iterable[bytes]) -> dict[bytes, int]:
        """Store the effect of new events. Raises sqlite3.Error."""
        places = self._places
        for track, last in changed_by(payloads).items():
            if last is not None:
                place = places.get(track) or max(places.values(), default=0) + 1
                places = {**places, track: place}
                connection.execute("INSERT OR REPLACE INTO track VALUES (?, ?, ?)", (place, zlib.crc32(last), last))
            elif track in places:
                connection.execute("DELETE FROM track WHERE number = ?", (places[track],))
                places = {other: place for other, place in places.items() if other != track}
        return places

    def replace(self, connection: sqlite3.Connection, payloads: Iterable[bytes]) -> dict[bytes, int]:
        """Store the last events of all open tracks anew. Raises sqlite3.Error."""
        connection.execute("DELETE FROM track")
        self._places = {}
        return self.write(connection, payloads)

    def commit(self, places: dict[bytes, int]) -> None:
        """Keep ``places``, the result of ``write`` or ``replace``, after its transaction has succeeded."""
        self._places = places

    def load(self, connection: sqlite3.Connection) -> tuple[list[bytes], int]:
        """Last events of the tracks in the file, and how many were damaged, which are deleted. Raises sqlite3.Error."""
        rows = connection.execute("SELECT number, crc, payload FROM track ORDER BY number").fetchall()
        intact = [(number, payload) for number, crc, payload in rows if _is_intact(crc, payload)]
        kept = {number for number, _ in intact}
        connection.executemany("DELETE FROM track WHERE number = ?", ((row[0],) for row in rows if row[0] not in kept))
        found = [(track_of(payload), number) for number, payload in intact]
        self._places = {track[1]: number for track, number in found if track is not None}
        return [payload for _, payload in intact], len(rows) - len(intact)


def rescue(connection: sqlite3.Connection) -> Sequence[bytes]:
    """Intact rows of a damaged file, as far as they can be read."""
    intact: dict[int, bytes] = {}
    for order in ("ASC", "DESC"):
        with suppress(Exception):
            for number, crc, payload in connection.execute(f"SELECT * FROM track ORDER BY number {order}"):  # noqa: S608
                if _is_intact(crc, payload):
                    intact[number] = payload
    return [intact[number] for number in sorted(intact)]


def _is_intact(crc: object, payload: object) -> bool:
    return isinstance(payload, bytes) and zlib.crc32(payload) == crc and track_of(payload) is not None

"""Rows of the outbox file: an event as it is stored, with a checksum over all of it."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from edge_emotion.outbox.outbox import Entry
from edge_emotion.system.clock import UNKNOWN, is_synchronised
from edge_emotion.wire.topics import NAME_PATTERN

COLUMNS = "number, mark, at, since, boot, camera, crc, payload"


class Row(NamedTuple):
    """One row of the table ``event``, in the order of ``COLUMNS``.

    ``mark`` is the highest ``seq`` that was stored up to it. ``since`` is when it was handed over, monotonic seconds
    of the ``boot``; ``at`` the same by the clock, None if that was not synchronised. Without ``payload`` the event
    has gone and the row is kept for its ``mark``.
    """

    number: int
    mark: int
    at: float | None
    since: float
    boot: int
    camera: str
    crc: int
    payload: bytes | None

    def checksum(self) -> int:
        """CRC-32 of everything but ``crc``."""
        return _checksum(self[:6], self.payload)

    def is_intact(self) -> bool:
        """True if the row is what was written."""
        name = isinstance(self.camera, str) and (self.payload is None or re.fullmatch(NAME_PATTERN, self.camera))
        types = isinstance(self.mark, int) and isinstance(self.payload, bytes | None)
        return bool(name and types and self.crc == self.checksum())


def boot_number(boot: str) -> int:
    """A boot id in 32 bits; 0 if it is unknown."""
    return 0 if boot == UNKNOWN else zlib.crc32(boot.encode()) or 1


def to_rows(entries: Iterable[Entry], mark: int | None, boot: int) -> Iterator[Row]:
    """The rows of new entries; ``mark`` is the highest number before them."""
    offset = time.time() - time.monotonic() if is_synchronised() else None
    for entry in entries:
        mark = entry.seq if mark is None else max(mark, entry.seq)
        at = None if offset is None else entry.since + offset
        values = (entry.number, mark, at, entry.since, boot, entry.camera)
        yield Row(*values, _checksum(values, entry.payload), entry.payload)


def emptied(number: int, mark: int) -> Row:
    """The newest row after its event has gone."""
    row = Row(number, mark, None, 0.0, 0, "", 0, None)
    return row._replace(crc=row.checksum())


def to_entry(boot: int) -> Callable[[Row], Entry]:
    """A function that makes entries of rows, with the time that they have waited as far as it is certain.

    Within one boot that is monotonic time. After another start of the machine it is the clock's, if that was and is
    synchronised; otherwise waiting begins anew. A clock that was ahead makes nothing younger than new.
    """
    now, clock = time.monotonic(), time.time() if is_synchronised() else None

    def entry(row: Row) -> Entry:
        waited = 0.0
        if row.boot == boot != 0:
            waited = now - row.since
        elif row.at is not None and clock is not None:
            waited = clock - row.at
        return Entry(row.number, 0, row.camera, row.payload or b"", now - max(0.0, waited))

    return entry


def from_version_1(number: Any, mark: Any, at: Any, camera: Any, crc: Any, payload: Any) -> Row | None:
    """A row of the first version, whose checksum was that of the payload alone; None if it is damaged."""
    if payload is None and isinstance(mark, int):
        return emptied(number, mark)
    if not isinstance(payload, bytes) or zlib.crc32(payload) != crc or not isinstance(at, float):
        return None
    row = Row(number, mark, at, 0.0, 0, camera, 0, payload)
    row = row._replace(crc=row.checksum())
    return row if row.is_intact() else None


def _checksum(values: tuple[object, ...], payload: bytes | None) -> int:
    text = repr((values, payload is None)).encode("utf-8", "backslashreplace")
    return zlib.crc32(payload or b"", zlib.crc32(text))

"""Compares what the databases have with what the nodes made, and what the broker had acknowledged to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from benchmarks.fleet.node import PREFIX, Made
from edge_emotion.collect.database import Database, StoreAway
from edge_emotion.collect.duckdb_file import DuckDbFile
from edge_emotion.collect.store import Store

Key = tuple[str, int]
"""Node and event number."""

_ROWS = """SELECT node, seq, id, type, emotion, previous, track, extract(epoch FROM received_at)
    FROM emotion_event ORDER BY node, seq, received_at"""
_SUMMED = "SELECT coalesce(sum(starts + changes + ends), 0) FROM emotion_day"
_MISSING = "SELECT coalesce(sum(missing), 0) FROM emotion_gaps"


class Row(NamedTuple):
    """One stored event; ``received_at`` in seconds."""

    node: str
    seq: int
    event: Made
    received_at: float


@dataclass(frozen=True)
class Verdict:
    """Numbers of events. All of them but ``made``, ``acknowledged``, ``stored`` and ``overtaken`` should be 0."""

    made: int
    acknowledged: int
    stored: int
    lost: int
    """Acknowledged to the node, and in no database."""
    invented: int
    """Stored, and made by no node, or with another content."""
    twice: int
    """Stored more than once."""
    gaps: int
    """Missing numbers, by the view ``emotion_gaps``."""
    misplaced: int
    """By ``seq``, not the successor of the event before it: type, previous emotion, track."""
    wrongly_summed: int
    """Difference between the rows and the sums of the days."""
    overtaken: int
    """Received before an event of the same track with a smaller number; a redelivery may do that."""

    @property
    def faults(self) -> dict[str, int]:
        """What should be 0 and is not."""
        allowed = ("made", "acknowledged", "stored", "overtaken")
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: number for name, number in found.items() if number and name not in allowed}


class Simulated(Protocol):
    """The part of a node that is judged."""

    made: list[Made]

    @property
    def unacknowledged(self) -> frozenset[int]:
        """Numbers of the events that were not acknowledged."""


def judge(nodes: Mapping[str, Simulated], rows: Sequence[Row], gaps: int, summed: int) -> Verdict:
    """``nodes`` by name; ``rows`` by node, ``seq`` and time."""
    stored = {(row.node, row.seq) for row in rows}
    acknowledged = {
        (name, seq)
        for name, node in nodes.items()
        for seq in range(1, len(node.made) + 1)
        if seq not in node.unacknowledged
    }
    return Verdict(
        made=sum(len(node.made) for node in nodes.values()),
        acknowledged=len(acknowledged),
        stored=len(stored),
        lost=len(acknowledged - stored),
        invented=sum(not _was_made(nodes, row) for row in rows),
        twice=len(rows) - len(stored),
        gaps=gaps,
        misplaced=_misplaced(rows),
        wrongly_summed=abs(summed - len(rows)),
        overtaken=_overtaken(rows),
    )


def read_files(files: Sequence[Path], folder: Path) -> tuple[list[Row], int, int]:
    """Rows of all DuckDB files, missing numbers over all of them, and the sums of their days.

    The files are joined in a new one in ``folder``, with the program's own tables and views. Raises SinkError.
    """
    rows: list[Row] = []
    summed = 0
    joined = DuckDbFile(folder / "joined.duckdb")
    try:
        Store(joined, PREFIX).open()
        for number, file in enumerate(files):
            with_rows, sums = _read(DuckDbFile(file))
            rows += with_rows
            summed += sums
            joined.execute(f"ATTACH '{file}' AS part{number} (READ_ONLY)")
            joined.execute(f"INSERT INTO emotion_event SELECT * FROM part{number}.emotion_event ON CONFLICT DO NOTHING")  # noqa: S608
        gaps = int(joined.execute(_MISSING)[0][0])
    finally:
        joined.close()
    return sorted(rows, key=lambda row: (row.node, row.seq, row.received_at)), gaps, summed


def count_rows(file: Path) -> int | None:
    """Number of events in a DuckDB file; None while a collector has it open."""
    database = DuckDbFile(file)
    try:
        return int(database.execute("SELECT count(*) FROM emotion_event")[0][0])
    except StoreAway:
        return None
    finally:
        database.close()


def _read(database: Database) -> tuple[list[Row], int]:
    try:
        rows = [_row(row) for row in database.execute(_ROWS)]
        return rows, int(database.execute(_SUMMED)[0][0])
    finally:
        database.close()


def _row(row: Sequence[Any]) -> Row:
    node, seq, *event, received_at = row
    return Row(node, seq, Made(*event), float(received_at))


def _was_made(nodes: Mapping[str, Simulated], row: Row) -> bool:
    made = nodes[row.node].made if row.node in nodes else []
    return 1 <= row.seq <= len(made) and made[row.seq - 1] == row.event


def _misplaced(rows: Iterable[Row]) -> int:
    """Events that do not follow from the event before them of the same node."""
    wrong, before = 0, None
    for row in rows:
        last = before.event if before is not None and before.node == row.node else None
        if last is None or last.type == "end":
            follows = row.event.type == "start" and row.event.previous is None
        else:
            follows = row.event.type != "start" and row.event.track == last.track and row.event.previous == last.emotion
        wrong += not follows
        before = row
    return wrong


def _overtaken(rows: Iterable[Row]) -> int:
    latest: dict[str, float] = {}
    count = 0
    for row in rows:
        count += row.received_at < latest.get(row.event.track, 0.0)
        latest[row.event.track] = max(row.received_at, latest.get(row.event.track, 0.0))
    return count

"""Compares what the databases have with what the nodes made, and what the broker had acknowledged to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from benchmarks.fleet.node import Made

Key = tuple[str, int]
"""Node and event number."""


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
    """By ``seq``, not the successor of the event before it of the same track: type, emotion, previous emotion."""
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


class History(NamedTuple):
    """What a node has made, event ``seq`` at ``seq - 1``, and the numbers of those that were not acknowledged."""

    made: Sequence[Made]
    unacknowledged: frozenset[int]


def judge(nodes: Mapping[str, History], rows: Sequence[Row], gaps: int, summed: int) -> Verdict:
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


def _was_made(nodes: Mapping[str, History], row: Row) -> bool:
    made = nodes[row.node].made if row.node in nodes else ()
    return 1 <= row.seq <= len(made) and made[row.seq - 1] == row.event


def _misplaced(rows: Iterable[Row]) -> int:
    """Events that do not follow from the event before them of the same track."""
    wrong, tracks = 0, dict[tuple[str, str], Made]()
    for row in rows:
        last = tracks.get((row.node, row.event.track))
        wrong += not _follows(row.event, last)
        tracks[row.node, row.event.track] = row.event
    return wrong


def _follows(event: Made, last: Made | None) -> bool:
    if last is None or last.type == "end":
        return last is None and event.type == "start" and event.previous is None
    if event.type == "end":
        return event.previous is None and event.emotion == last.emotion
    return event.type == "change" and event.previous == last.emotion


def _overtaken(rows: Iterable[Row]) -> int:
    latest: dict[str, float] = {}
    count = 0
    for row in rows:
        count += row.received_at < latest.get(row.event.track, 0.0)
        latest[row.event.track] = max(row.received_at, latest.get(row.event.track, 0.0))
    return count

"""Detects missed, duplicate and late events by their numbers. No clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Literal

from edge_emotion.datatypes import EmotionEvent

Arrival = Literal["first", "next", "gap", "late", "duplicate", "restart", "unchecked"]
"""An event compared with the earlier ones of its node:

- ``first``: the first event of its node; ``next``: it has the expected number
- ``gap``: numbers before it are missing; ``late``: an older number that has not arrived before, which may fill a gap
- ``duplicate``: the same number and id once more
- ``restart``: the numbers of its node have started again (it lost its counter, or two daemons use one name)
- ``unchecked``: no check, because this subscriber does not receive all events
"""

RECENT = 4096
"""Events of a node whose ids are kept; an older event that arrives again counts as late."""

GAPS = 1024
"""Gaps of a node that a late event can still fill; the events of older gaps stay missed."""

REORDERING = timedelta(seconds=1)
"""Cameras of one node are processed in parallel: capture times go back by less than this as numbers grow."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Arrival of an event; ``missed`` numbers are missing directly before it."""

    arrival: Arrival
    missed: int = 0


@dataclass(slots=True)
class Totals:
    """Counts since the start of the subscriber. ``events`` does not include duplicates."""

    events: int = 0
    replayed: int = 0
    gaps: int = 0
    missed: int = 0
    """Numbers that have not arrived so far; a late event is subtracted again."""
    late: int = 0
    duplicates: int = 0
    restarts: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(slots=True)
class _Node:
    """State of one node: its last number, the capture time of that event, and the gaps before it."""

    last: int
    recent: int
    gaps_kept: int
    newest: datetime | None = None
    gaps: list[range] = field(default_factory=list)
    ids: OrderedDict[int, str] = field(default_factory=OrderedDict)
    totals: Totals = field(default_factory=Totals)

    def remember(self, event: EmotionEvent) -> None:
        self.ids[event.seq] = event.id
        if len(self.ids) > self.recent:
            self.ids.popitem(last=False)

    def restart(self, event: EmotionEvent) -> None:
        self.last, self.newest = event.seq, event.ts
        self.gaps.clear()
        self.ids.clear()

    def advance(self, event: EmotionEvent) -> int:
        """Continue with a higher number; returns how many numbers are missing."""
        gap = range(self.last + 1, event.seq)
        if gap:
            self.gaps = [*self.gaps, gap][-self.gaps_kept :]
        self.last, self.newest = event.seq, event.ts
        return gap.stop - gap.start

    def fill(self, number: int) -> bool:
        """Remove a number from its gap; False if it is in none."""
        for index, gap in enumerate(self.gaps):
            if number in gap:
                parts = (range(gap.start, number), range(number + 1, gap.stop))
                self.gaps[index : index + 1] = [part for part in parts if part]
                return True
        return False

    def has_restarted(self, event: EmotionEvent) -> bool:
        """True if an old number belongs to a new event: the node lost its counter, the event is not just late."""
        if event.seq in self.ids or (self.newest is not None and event.ts - self.newest > REORDERING):
            return True
        return event.seq == 1 and not event.replayed and not any(1 in gap for gap in self.gaps)


class GapDetector:
    """Checks the events of any number of nodes, in order of arrival."""

    def __init__(self, positions: Mapping[str, int] | None = None, *, recent: int = RECENT, gaps: int = GAPS) -> None:
        """``positions`` (node -> last number) continues an earlier detector.

        Per node, ``recent`` ids and ``gaps`` gaps are kept.
        """
        self._recent, self._gaps = recent, gaps
        self._nodes = {node: _Node(last, recent, gaps) for node, last in (positions or {}).items()}

    @property
    def positions(self) -> dict[str, int]:
        """Node -> number of its last event, to be the ``positions`` of a later detector."""
        return {name: node.last for name, node in self._nodes.items()}

    @property
    def totals(self) -> dict[str, Totals]:
        """Node -> its counts so far."""
        return {name: replace(node.totals) for name, node in self._nodes.items()}

    def update(self, event: EmotionEvent) -> Verdict:
        """Check the next event."""
        verdict, node = self._check(event)
        count = node.totals
        count.events += verdict.arrival != "duplicate"
        count.replayed += event.replayed and verdict.arrival != "duplicate"
        count.gaps += verdict.arrival == "gap"
        count.missed += verdict.missed
        count.late += verdict.arrival == "late"
        count.duplicates += verdict.arrival == "duplicate"
        count.restarts += verdict.arrival == "restart"
        node.remember(event)
        return verdict

    def _check(self, event: EmotionEvent) -> tuple[Verdict, _Node]:
        node = self._nodes.get(event.node)
        if node is None:
            node = self._nodes[event.node] = _Node(event.seq, self._recent, self._gaps, event.ts)
            return Verdict("first"), node
        if event.seq > node.last:
            missed = node.advance(event)
            return Verdict("gap" if missed else "next", missed), node
        if node.ids.get(event.seq) == event.id:
            return Verdict("duplicate"), node
        if node.has_restarted(event):
            node.restart(event)
            return Verdict("restart"), node
        node.totals.missed -= node.fill(event.seq)
        return Verdict("late"), node


def summed(totals: Iterable[Totals]) -> Totals:
    """The sum of the counts."""
    return sum(totals, start=Totals())

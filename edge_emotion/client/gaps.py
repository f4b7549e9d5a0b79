"""What a subscriber missed, got twice or got late, told by the numbers of the events alone. No clock, no I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Literal

from edge_emotion.datatypes import EmotionEvent

Arrival = Literal["first", "next", "gap", "late", "duplicate", "restart", "unchecked"]
"""How an event fits to the ones of its node before it:

- ``first``: nothing is known of its node yet; ``next``: its number is the one that was due
- ``gap``: numbers before it are missing; ``late``: an older number that was not seen yet, which may fill a gap
- ``duplicate``: the same number and id once more
- ``restart``: its node counts anew (it lost its counter, or two daemons use one name)
- ``unchecked``: nobody looked, because this subscriber does not get all events
"""

MEMORY = 4096
"""Events of a node whose ids are remembered; an older one that comes again counts as late."""

HOLES = 1024
"""Separate gaps of a node that a late event can still fill; older ones stay missed."""

REORDERING = timedelta(seconds=1)
"""Cameras of one node are processed side by side: capture times go back by less than this as numbers grow."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an event arrived; ``missed`` numbers are missing right before it."""

    arrival: Arrival
    missed: int = 0


@dataclass(slots=True)
class Totals:
    """Counts since the subscriber began. ``events`` are different ones: duplicates are not among them."""

    events: int = 0
    replayed: int = 0
    gaps: int = 0
    missed: int = 0
    """Numbers that have not come until now; a late one is taken off again."""
    late: int = 0
    duplicates: int = 0
    restarts: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(slots=True)
class _Node:
    """What is known of one node: its last number, when that was captured, and the holes before it."""

    last: int
    newest: datetime | None = None
    holes: list[range] = field(default_factory=list)
    ids: OrderedDict[int, str] = field(default_factory=OrderedDict)
    totals: Totals = field(default_factory=Totals)

    def remember(self, event: EmotionEvent) -> None:
        self.ids[event.seq] = event.id
        if len(self.ids) > MEMORY:
            self.ids.popitem(last=False)

    def begin_again(self, event: EmotionEvent) -> None:
        self.last, self.newest = event.seq, event.ts
        self.holes.clear()
        self.ids.clear()

    def advance(self, event: EmotionEvent) -> int:
        """Go on to a higher number; returns how many were left out."""
        hole = range(self.last + 1, event.seq)
        if hole:
            self.holes = [*self.holes, hole][-HOLES:]
        self.last, self.newest = event.seq, event.ts
        return hole.stop - hole.start

    def fill(self, number: int) -> bool:
        """Take a number out of the holes; False if it is in none."""
        for index, hole in enumerate(self.holes):
            if number in hole:
                parts = (range(hole.start, number), range(number + 1, hole.stop))
                self.holes[index : index + 1] = [part for part in parts if part]
                return True
        return False

    def counts_anew(self, event: EmotionEvent) -> bool:
        """True if an old number belongs to a new event: after a lost counter, not after a detour on the way."""
        if event.seq in self.ids or (self.newest is not None and event.ts > self.newest + REORDERING):
            return True
        return event.seq == 1 and not event.replayed and not any(1 in hole for hole in self.holes)


class GapDetector:
    """Judges the events of any number of nodes, each in the order in which they arrive."""

    def __init__(self, positions: Mapping[str, int] | None = None) -> None:
        """``positions`` (node -> last number seen) lets an earlier detector's count go on."""
        self._nodes = {node: _Node(last) for node, last in (positions or {}).items()}

    @property
    def positions(self) -> dict[str, int]:
        """Node -> its last number: what to keep for the next detector."""
        return {name: node.last for name, node in self._nodes.items()}

    @property
    def totals(self) -> dict[str, Totals]:
        """Node -> its counts so far."""
        return {name: replace(node.totals) for name, node in self._nodes.items()}

    def update(self, event: EmotionEvent) -> Verdict:
        """Judge the next arrival."""
        verdict, node = self._judge(event)
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

    def _judge(self, event: EmotionEvent) -> tuple[Verdict, _Node]:
        node = self._nodes.get(event.node)
        if node is None:
            node = self._nodes[event.node] = _Node(event.seq, event.ts)
            return Verdict("first"), node
        if event.seq > node.last:
            missed = node.advance(event)
            return Verdict("gap" if missed else "next", missed), node
        if node.ids.get(event.seq) == event.id:
            return Verdict("duplicate"), node
        if node.counts_anew(event):
            node.begin_again(event)
            return Verdict("restart"), node
        node.totals.missed -= node.fill(event.seq)
        return Verdict("late"), node


def summed(totals: Iterable[Totals]) -> Totals:
    """All nodes together."""
    return sum(totals, start=Totals())

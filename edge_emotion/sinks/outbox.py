"""Events on their way to a broker, in order, from their making to their acknowledgement."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from edge_emotion.datatypes import EmotionEvent


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event as it is to be sent now. ``number`` is its place in the outbox's order, for ``acknowledge``."""

    number: int
    event: EmotionEvent


class Outbox:
    """At most ``limit`` events in memory; when one more comes, the oldest is dropped and counted.

    An event leaves when it is acknowledged, not when it is taken. ``restart`` begins a new delivery: all that is
    still here is given out again from the oldest on, as replayed. Not thread-safe: its owner locks.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"an outbox holds at least 1 event, not {limit}")
        self._limit = limit
        self._taken: dict[int, EmotionEvent] = {}
        self._untaken: deque[Waiting] = deque()
        self._next = 0
        self._fresh_from = 0
        self.dropped = 0
        """Events that were given up, since the start."""

    def __len__(self) -> int:
        """Events that are not acknowledged, taken or not."""
        return len(self._taken) + len(self._untaken)

    def append(self, event: EmotionEvent) -> bool:
        """Add the newest event. False if the oldest one had to make room."""
        full = len(self) >= self._limit
        if full:
            self._drop_oldest()
        self._untaken.append(Waiting(self._next, event))
        self._next += 1
        return not full

    def take(self) -> Waiting | None:
        """The oldest event that was not taken since ``restart``; None if there is none."""
        if not self._untaken:
            return None
        waiting = self._untaken.popleft()
        self._taken[waiting.number] = waiting.event
        if waiting.number >= self._fresh_from:
            return waiting
        return Waiting(waiting.number, replace(waiting.event, replayed=True))

    @property
    def next_number(self) -> int:
        """Number of the event that ``append`` would add."""
        return self._next

    @property
    def oldest_untaken(self) -> int:
        """Number of the event that ``take`` would give; that of the next one to come if there is none."""
        return self._untaken[0].number if self._untaken else self._next

    def acknowledge(self, number: int) -> bool:
        """The event is delivered or refused for good: forget it. False if it is not here any more."""
        return self._taken.pop(number, None) is not None

    def restart(self) -> None:
        """A new connection: what is here waited for it, so it is given out (again), in order, as replayed."""
        self._untaken.extendleft(Waiting(number, event) for number, event in reversed(self._taken.items()))
        self._taken.clear()
        self._fresh_from = self._next

    def discard(self) -> int:
        """Give up all that is here; it counts as dropped. Returns how many that were."""
        given_up = len(self)
        self._taken.clear()
        self._untaken.clear()
        self.dropped += given_up
        return given_up

    def _drop_oldest(self) -> None:
        if self._taken:
            del self._taken[next(iter(self._taken))]
        else:
            self._untaken.popleft()
        self.dropped += 1

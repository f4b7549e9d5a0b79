"""Events on their way to a broker, in order, from their making to their acknowledgement."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from edge_emotion.outbox.open_tracks import follow

P = ParamSpec("P")
T = TypeVar("T")


def _locked(method: Callable[Concatenate[Outbox, P], T]) -> Callable[Concatenate[Outbox, P], T]:
    """The method while it holds the outbox's lock, which may be taken again by the same thread."""

    @wraps(method)
    def locked(self: Outbox, /, *arguments: P.args, **options: P.kwargs) -> T:
        with self._lock:
            return method(self, *arguments, **options)

    return locked


def _ignore() -> None:
    """Does nothing: the default of ``on_new`` and ``on_sendable``."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that waits. ``number`` is its place in the outbox's order, ``seq`` its number for subscribers.

    ``payload`` is its wire form as it was handed over; ``since`` when that was, in monotonic seconds.
    """

    number: int
    seq: int
    camera: str
    payload: bytes
    since: float


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of the outbox since the last look: entries that came, numbers of stored ones that left.

    ``upto`` is the number that the next entry will have. ``tracks``: last events of all tracks that have not ended,
    only of ``collect_all``.
    """

    new: Sequence[Entry]
    gone: Sequence[int]
    upto: int
    tracks: Sequence[bytes] = ()


class Outbox:
    """At most ``limit`` events, none that waited longer than ``max_age`` s; the oldest are dropped and counted.

    An event leaves when it is acknowledged, not when it is taken. ``restart`` begins a new delivery: all that is
    still here is given out again from the oldest on, as replayed. Once ``load`` was called, an event is given out
    only after ``stored`` covered it: what the network has seen is then known after a crash. Thread-safe: ``on_new``
    and ``on_sendable`` are called by the thread that made the change, and must neither wait nor call the outbox.
    """

    def __init__(self, limit: int, max_age: float = math.inf) -> None:
        if limit < 1:
            raise ValueError(f"an outbox holds at least 1 event, not {limit}")
        self._limit, self._max_age = limit, max_age
        self._lock = threading.RLock()
        self.on_new: Callable[[], None] = _ignore
        """Called when there is an event to be stored."""
        self.on_sendable: Callable[[], None] = _ignore
        """Called when there may be an event to ``take``."""
        self._taken: dict[int, Entry] = {}
        self._untaken: deque[Entry] = deque()
        self._next = 0
        self._fresh_from = 0
        self._durable = False
        self._uncollected: deque[Entry] = deque()
        self._collected = 0
        self._stored = 0
        self._gone: list[int] = []
        self._tracks: dict[bytes, bytes] = {}
        self.dropped = 0
        """Events that were given up, since the start."""
        self.expired = 0
        """Those of them that had waited too long."""
        self.refused = 0
        """Events that the broker refused for good or that have no wire form."""

    @_locked
    def __len__(self) -> int:
        """Events that are not acknowledged, taken or not."""
        return len(self._taken) + len(self._untaken)

    def append(self, seq: int, camera: str, payload: bytes, now: float) -> bool:
        """Add the newest event. False if the oldest one had to make room."""
        with self._lock:
            room = self._append(seq, camera, payload, now)
            notify = self.on_new if self._durable else self.on_sendable
        notify()  # after the lock is free: the other thread would only wait for it
        return room

    def _append(self, seq: int, camera: str, payload: bytes, now: float) -> bool:
        self.expire(now)
        full = len(self) >= self._limit
        if full:
            self._drop_oldest()
        follow(self._tracks, payload)
        entry = Entry(self._next, seq, camera, payload, now)
        self._next += 1
        self._untaken.append(entry)
        if self._durable:
            self._uncollected.append(entry)
        return not full

    @_locked
    def take(self) -> tuple[Entry, bool] | None:
        """The oldest event that was not taken since ``restart``, and whether it is a replay; None if there is none."""
        if not self._untaken or (self._durable and self._untaken[0].number >= self._stored):
            return None
        entry = self._untaken.popleft()
        self._taken[entry.number] = entry
        return entry, entry.number < self._fresh_from

    @property
    @_locked
    def next_number(self) -> int:
        """Number of the event that ``append`` would add."""
        return self._next

    @property
    @_locked
    def oldest_untaken(self) -> int:
        """Number of the event that ``take`` would give; that of the next one to come if there is none."""
        return self._untaken[0].number if self._untaken else self._next

    @_locked
    def acknowledge(self, number: int) -> bool:
        """The event is delivered or refused for good: forget it. False if it is not here any more."""
        known = self._taken.pop(number, None) is not None
        if known:
            self._forget(number)
        return known

    @_locked
    def refuse(self, number: int | None = None) -> None:
        """Count an event that can never be delivered; with its ``number``, remove it if it was taken."""
        self.refused += 1
        if number is not None:
            self.acknowledge(number)

    @_locked
    def restart(self, now: float) -> None:
        """For a new connection: all events are given out (again), oldest first, as replayed, except expired ones."""
        self._untaken.extendleft(reversed(self._taken.values()))
        self._taken.clear()
        self._fresh_from = self._next
        self.expire(now)

    @_locked
    def expire(self, now: float) -> None:
        """Drop and count events not taken that have waited more than ``max_age`` s; ``now``: monotonic seconds."""
        while self._untaken and now - self._untaken[0].since > self._max_age:
            self._forget(self._untaken.popleft().number)
            self.dropped += 1
            self.expired += 1

    @_locked
    def discard(self) -> int:
        """Give up all that is here; it counts as dropped. Returns how many that were."""
        given_up = self.clear()
        self.dropped += given_up
        return given_up

    @_locked
    def clear(self) -> int:
        """Forget all that is here, which somebody else has kept. Returns how many that were."""
        count = len(self)
        for entries in (self._taken, self._untaken, self._uncollected, self._gone):
            entries.clear()
        return count

    @_locked
    def load(self, entries: Sequence[Entry], now: float) -> None:
        """Put ``entries`` of an earlier run, sorted by number, before all that is here; from now on all is stored."""
        early = list(self._untaken)
        self._untaken = deque(entries)
        self._next = self._collected = self._stored = self._fresh_from = entries[-1].number + 1 if entries else 0
        self._durable = True
        for entry in early:
            again = replace(entry, number=self._next)
            self._untaken.append(again)
            self._uncollected.append(again)
            self._next += 1
        while len(self) > self._limit:
            self._drop_oldest()
        self.expire(now)

    @_locked
    def collect(self) -> Changes:
        """Changes to be stored since the last call; ``stored`` confirms them."""
        changes = Changes(list(self._uncollected), self._gone, self._next)
        self._uncollected.clear()
        self._gone = []
        self._collected = self._next
        return changes

    @_locked
    def stored(self, upto: int) -> None:
        """Mark all entries below the number ``upto`` as stored: they survive this process and may be sent."""
        self._stored = max(self._stored, upto)
        self.on_sendable()

    @_locked
    def release(self) -> None:
        """Storing has failed: from now on events are sent without being stored."""
        self._durable = False
        self._uncollected.clear()
        self._gone.clear()
        self.on_sendable()

    @_locked
    def collect_all(self) -> Changes:
        """Everything that is here, to be stored anew; what comes after it is given out only when it is stored."""
        self._durable = True
        self._collected = self._stored = self._next
        return Changes([*self._taken.values(), *self._untaken], (), self._next, list(self._tracks.values()))

    @_locked
    def waits_from(self, number: int) -> bool:
        """True if an event of this number or a later one is not acknowledged."""
        newest = self._untaken[-1].number if self._untaken else next(reversed(self._taken), -1)
        return newest >= number

    def _drop_oldest(self) -> None:
        oldest = next(iter(self._taken)) if self._taken else self._untaken.popleft().number
        self._taken.pop(oldest, None)
        self._forget(oldest)
        self.dropped += 1

    def _forget(self, number: int) -> None:
        if self._durable and number < self._collected:
            self._gone.append(number)
        while self._uncollected and self._uncollected[0].number <= number:
            self._uncollected.popleft()

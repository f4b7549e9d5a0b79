"""What the callers of the MQTT sink and its network thread share, behind one lock."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue

from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.outbox.outbox import Changes, Entry, Outbox
from edge_emotion.wire.payloads import GONE, OFFLINE, ONLINE, event_from_json, event_to_json
from edge_emotion.wire.topics import Topics

_log = logging.getLogger("edge_emotion.sinks.mqtt")


KEPT_NOTES = 100
"""Answers and figures at most that wait for their turn; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Message:
    """One publication. ``number`` is an event's place in the outbox."""

    topic: str
    payload: bytes
    number: int | None = None
    retain: bool = False
    qos: int = 1


class SendQueue:
    """Events in their outbox, and of every retained topic the newest payload. Thread-safe.

    The lock is held only inside these methods, which neither wait nor call anything that takes another lock.
    """

    def __init__(self, topics: Topics, outbox: Outbox, info: bytes) -> None:
        """``outbox`` belongs to the send_queue from now on. The node is offline until said otherwise."""
        self._topics = topics
        self._lock = threading.Lock()
        self._outbox = outbox
        self._retained = {topics.info: info, topics.availability: OFFLINE}
        self._unsaid: dict[str, int] = {}
        """Topic -> number of the first event that must not be sent before it; events of before go first."""
        self._notes: deque[Message] = deque(maxlen=KEPT_NOTES)
        self._refused = 0
        self._wakeup: Wakeup | None = None
        self._store: SimpleQueue[None] | None = None

    def __len__(self) -> int:
        """Events that are not acknowledged."""
        with self._lock:
            return len(self._outbox)

    @property
    def dropped(self) -> int:
        """Events that were given up."""
        with self._lock:
            return self._outbox.dropped

    @property
    def refused(self) -> int:
        """Events that were refused."""
        with self._lock:
            return self._refused

    @property
    def unsaid(self) -> bool:
        """True while a retained message is to be sent."""
        with self._lock:
            return bool(self._unsaid)

    def attach(self, wakeup: Wakeup | None) -> None:
        """From now on, wake this one whenever there is something new."""
        with self._lock:
            self._wakeup = wakeup

    def wake(self) -> None:
        """Wake the reader without a message."""
        with self._lock:
            self._wake()

    def load(self, entries: Sequence[Entry]) -> None:
        """Begin with the events of an earlier run; from now on an event is sent only after ``stored`` covered it."""
        with self._lock:
            self._outbox.load(entries, time.monotonic())

    def store_with(self, store: SimpleQueue[None] | None) -> None:
        """From now on, put something there whenever there is an event to be stored."""
        with self._lock:
            self._store = store
        if store is not None:
            store.put(None)

    def collect(self) -> Changes:
        """What is to be stored since the last call."""
        with self._lock:
            return self._outbox.collect()

    def collect_all(self) -> Changes:
        """All events, to be stored anew, after ``release``."""
        with self._lock:
            return self._outbox.collect_all()

    def stored(self, upto: int) -> None:
        """Events below this number outlive the process: they may be sent."""
        with self._lock:
            self._outbox.stored(upto)
            self._wake()

    def release(self) -> None:
        """Send without storing."""
        with self._lock:
            self._outbox.release()
            self._wake()

    def waits_from(self, number: int) -> bool:
        """True if an event of this number or a later one is not acknowledged."""
        with self._lock:
            return self._outbox.waits_from(number)

    def post(self, seq: int, camera: str, payload: bytes) -> bool:
        """Add an event in its wire form. False if the oldest one had to make room."""
        with self._lock:
            room = self._outbox.append(seq, camera, payload, time.monotonic())
            store = self._store
            if store is None:
                self._wake()
        if store is not None:
            store.put(None)  # not before the lock is free: its reader would only wait for that
        return room

    def retain(self, topic: str, payload: bytes) -> None:
        """Replace the payload of a retained topic."""
        with self._lock:
            self._retained[topic] = payload
            self._unsaid[topic] = self._outbox.next_number
            self._wake()

    def forget(self, topic: str) -> None:
        """Have the broker forget a retained topic, and then do so here."""
        self.retain(topic, GONE)

    def settled(self, message: Message) -> None:
        """The broker has a retained message."""
        with self._lock:
            if message.payload == GONE == self._retained.get(message.topic):
                del self._retained[message.topic]

    def note(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Send once, if there is a connection: what is late or lost is of no use to anybody."""
        with self._lock:
            self._notes.append(Message(topic, payload, qos=qos))
            self._wake()

    def take(self, flying: Collection[str], events: bool) -> Message | None:
        """What to send next, in the order in which it was handed over; no retained topic that is in ``flying``.

        Without ``events`` only retained topics, whatever waits before them.
        """
        while True:
            with self._lock:
                if self._notes:
                    return self._notes.popleft()
                for topic, number in self._unsaid.items():
                    if topic not in flying and (number <= self._outbox.oldest_untaken or not events):
                        del self._unsaid[topic]
                        return Message(topic, self._retained[topic], retain=True)
                waiting = self._outbox.take() if events else None
            if waiting is None:
                return None
            entry, replayed = waiting
            try:
                payload = _as_replayed(entry.payload) if replayed else entry.payload
            except ValueError as error:  # stored by another version
                _log.error("an event that waited cannot be read any more (%s) and is not sent", error)
                self.refuse(entry.number)
            else:
                return Message(self._topics.camera(entry.camera, "events"), payload, entry.number)

    def acknowledge(self, number: int) -> None:
        """The broker has taken over this event."""
        with self._lock:
            self._outbox.acknowledge(number)

    def refuse(self, number: int | None = None) -> None:
        """An event will never be taken over: count it, and forget it if it was in the outbox."""
        with self._lock:
            self._refused += 1
            if number is not None:
                self._outbox.acknowledge(number)

    def come_online(self) -> int:
        """A connection begins: everything retained is to be said, the node's availability last, then all events.

        Returns how many events were dropped since the start because they had waited too long.
        """
        with self._lock:
            self._notes.clear()
            self._unsaid.clear()
            self._retained[self._topics.availability] = ONLINE
            self._say_again(self._retained)
            self._outbox.restart(time.monotonic())
            return self._outbox.expired

    def repeat(self) -> None:
        """Say everything retained once more, to somebody who has just come."""
        with self._lock:
            self._say_again(self._retained)
            self._wake()

    def go_offline(self) -> None:
        """A clean stop: the cameras and then the node are offline."""
        with self._lock:
            gone = [
                topic
                for topic, payload in self._retained.items()
                if topic.endswith("/availability") and (payload == ONLINE or topic == self._topics.availability)
            ]
            self._retained.update(dict.fromkeys(gone, OFFLINE))
            self._say_again(gone)

    def discard(self) -> int:
        """Give up all events, counted as dropped. Returns how many."""
        with self._lock:
            return self._outbox.discard()

    def leave(self) -> int:
        """Forget all events, which the store keeps for the next run. Returns how many those are."""
        with self._lock:
            return self._outbox.clear()

    def _say_again(self, topics: Iterable[str]) -> None:
        self._unsaid |= dict.fromkeys(topics, 0)
        self._unsaid.pop(self._topics.availability, None)
        self._unsaid[self._topics.availability] = 0

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()


def _as_replayed(payload: bytes) -> bytes:
    return event_to_json(replace(event_from_json(payload), replayed=True))

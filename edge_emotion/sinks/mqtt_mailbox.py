"""What the callers of the MQTT sink and its network thread share, behind one lock."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from edge_emotion.datatypes import EmotionEvent
from edge_emotion.payload import Topics, event_to_json
from edge_emotion.sinks.outbox import Outbox

ONLINE, OFFLINE = b"online", b"offline"


@dataclass(frozen=True, slots=True)
class Message:
    """One publication. ``number`` is the event's place in the outbox; None for a retained message."""

    topic: str
    payload: bytes
    number: int | None = None


class Waker:
    """Ends another thread's ``select`` at once."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def set(self) -> None:
        """Wake the other thread, now or when it next waits. Never blocks."""
        with suppress(BlockingIOError):  # full: of wake-ups that were not seen yet
            self._writer.send(b"\0")

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)

    def fileno(self) -> int:
        """For ``select``."""
        return self._reader.fileno()

    def close(self) -> None:
        """Free the sockets."""
        self._reader.close()
        self._writer.close()


class Mailbox:
    """Events in their outbox, and of every retained topic the newest payload. Thread-safe.

    The lock is held only inside these methods, which neither wait nor call anything that takes another lock.
    """

    def __init__(self, topics: Topics, limit: int, info: bytes, cameras: Iterable[str]) -> None:
        """``limit`` events wait at most. Node and cameras are offline until said otherwise."""
        self._topics = topics
        self._lock = threading.Lock()
        self._outbox = Outbox(limit)
        self._retained = {topics.info: info, topics.availability: OFFLINE}
        self._retained |= {topics.camera(camera, "availability"): OFFLINE for camera in cameras}
        self._unsaid: dict[str, int] = {}
        """Topic -> number of the first event that must not be sent before it; events of before go first."""
        self._refused = 0
        self._waker: Waker | None = None

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

    def attach(self, waker: Waker | None) -> None:
        """From now on, wake this one whenever there is something new."""
        with self._lock:
            self._waker = waker

    def wake(self) -> None:
        """Wake the reader without a message."""
        with self._lock:
            self._wake()

    def post(self, event: EmotionEvent) -> bool:
        """Add an event. False if the oldest one had to make room."""
        with self._lock:
            room = self._outbox.append(event)
            self._wake()
        return room

    def retain(self, topic: str, payload: bytes) -> None:
        """Replace the payload of a retained topic."""
        with self._lock:
            self._retained[topic] = payload
            self._unsaid[topic] = self._outbox.next_number
            self._wake()

    def take(self, flying: Collection[str], events: bool) -> Message | None:
        """What to send next, in the order in which it was handed over; no retained topic that is in ``flying``.

        Without ``events`` only retained topics, whatever waits before them.
        """
        with self._lock:
            for topic, number in self._unsaid.items():
                if topic not in flying and (number <= self._outbox.oldest_untaken or not events):
                    del self._unsaid[topic]
                    return Message(topic, self._retained[topic])
            waiting = self._outbox.take() if events else None
        if waiting is None:
            return None
        topic = self._topics.camera(waiting.event.camera, "events")
        return Message(topic, event_to_json(waiting.event), waiting.number)

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

    def come_online(self) -> None:
        """A connection begins: everything retained is to be said, the node's availability last, then all events."""
        with self._lock:
            self._retained[self._topics.availability] = ONLINE
            self._say_again(self._retained)
            self._outbox.restart()

    def go_offline(self) -> None:
        """A clean stop: the cameras and then the node are offline."""
        with self._lock:
            gone = [
                topic
                for topic, payload in self._retained.items()
                if topic.endswith("/availability") and (payload != OFFLINE or topic == self._topics.availability)
            ]
            self._retained.update(dict.fromkeys(gone, OFFLINE))
            self._say_again(gone)

    def discard(self) -> int:
        """Give up all events, counted as dropped. Returns how many."""
        with self._lock:
            return self._outbox.discard()

    def _say_again(self, topics: Iterable[str]) -> None:
        self._unsaid |= dict.fromkeys(topics, 0)
        self._unsaid.pop(self._topics.availability, None)
        self._unsaid[self._topics.availability] = 0

    def _wake(self) -> None:
        if self._waker is not None:
            self._waker.set()

"""The order in which events, retained topics, responses and stats are published."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.outbox.outbox import Entry, Outbox
from edge_emotion.wire.payloads import CLEARED, OFFLINE, ONLINE, as_replayed
from edge_emotion.wire.topics import Topics

_log = logging.getLogger("edge_emotion.sinks.mqtt")


MAX_TRANSIENT = 100
"""Largest number of responses and stats that wait to be sent; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Message:
    """One publication. ``number`` is set for an event: its place in the outbox."""

    topic: str
    payload: bytes
    number: int | None = None
    retain: bool = False
    qos: int = 1


class SendQueue:
    """Merges the events of the outbox with the newest payload of every retained topic. Thread-safe.

    Events go straight into ``outbox`` and leave it when they are acknowledged there; only ``take`` passes them through
    here. The lock is held only inside these methods, which do not wait. They may take the outbox's lock while they
    hold it, never the other way round.
    """

    def __init__(self, topics: Topics, outbox: Outbox, info: bytes) -> None:
        """``info`` is the payload of the topic ``info``. The node is offline until ``begin_connection``."""
        self.outbox = outbox
        self._topics = topics
        self._lock = threading.Lock()
        self._retained = {topics.info: info, topics.availability: OFFLINE}
        self._dirty_retained: dict[str, int] = {}
        """Topic -> barrier: publish it after every event numbered below the barrier."""
        self._transient: deque[Message] = deque(maxlen=MAX_TRANSIENT)
        self._wakeup: Wakeup | None = None
        outbox.on_sendable = self.wake

    @property
    def has_dirty_retained(self) -> bool:
        """True while a retained topic waits to be published."""
        with self._lock:
            return bool(self._dirty_retained)

    def attach(self, wakeup: Wakeup) -> None:
        """Have ``wakeup`` set, from now on, whenever there is something to ``take``."""
        self._wakeup = wakeup

    def wake(self) -> None:
        """Wake the thread that takes messages."""
        wakeup = self._wakeup
        if wakeup is not None:
            wakeup.set()

    def retain(self, topic: str, payload: bytes) -> None:
        """Replace the payload of a retained topic, and publish it after the events that came before."""
        with self._lock:
            self._retained[topic] = payload
            self._dirty_retained[topic] = self.outbox.next_number
        self.wake()

    def clear(self, topic: str) -> None:
        """Remove a retained topic from the broker, and from here when the broker has confirmed it."""
        self.retain(topic, CLEARED)

    def confirm(self, message: Message) -> None:
        """The broker has acknowledged a retained message."""
        with self._lock:
            if message.payload == CLEARED == self._retained.get(message.topic):
                del self._retained[message.topic]

    def send_once(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Publish if there is a connection; otherwise the message is lost, because it would be out of date."""
        with self._lock:
            self._transient.append(Message(topic, payload, qos=qos))
        self.wake()

    def take(self, in_flight: Collection[str], events: bool) -> Message | None:
        """The next message to publish: responses and stats, then retained topics, then events; None if there is none.

        A retained topic waits for the events that were added before it, and while it is ``in_flight``: sent, and not
        acknowledged. Without ``events`` no event is taken, and no topic waits for one.
        """
        while True:
            with self._lock:
                if self._transient:
                    return self._transient.popleft()
                for topic, barrier in self._dirty_retained.items():
                    if topic not in in_flight and (not events or barrier <= self.outbox.oldest_untaken):
                        del self._dirty_retained[topic]
                        return Message(topic, self._retained[topic], retain=True)
                taken = self.outbox.take() if events else None
            if taken is None:
                return None
            message = self._as_message(*taken)
            if message is not None:
                return message

    def begin_connection(self) -> None:
        """Publish everything retained, the node's availability last, then all events that are not acknowledged."""
        with self._lock:
            self._transient.clear()
            self._dirty_retained.clear()
            self._retained[self._topics.availability] = ONLINE
            self._mark_dirty(self._retained)
            self.outbox.restart(time.monotonic())

    def retry(self, messages: Iterable[Message]) -> None:
        """Publish everything once more that the broker has refused for the moment.

        ``messages`` are the refused retained ones. Events stay in the outbox until they are acknowledged: all that are
        taken are sent again, so none may be in flight.
        """
        with self._lock:
            for message in messages:
                self._dirty_retained.setdefault(message.topic, 0)
            self.outbox.restart(time.monotonic())
        self.wake()

    def republish(self) -> None:
        """Publish everything retained once more, for a subscriber that has just started."""
        with self._lock:
            self._mark_dirty(self._retained)
        self.wake()

    def republish_availability(self) -> None:
        """Publish the availability of the cameras and the node once more: another client has changed it."""
        with self._lock:
            self._mark_dirty([topic for topic in self._retained if topic.endswith("/availability")])
        self.wake()

    def set_offline(self) -> None:
        """For a clean stop: publish that the cameras, and then the node, are offline."""
        with self._lock:
            offline = [
                topic
                for topic, payload in self._retained.items()
                if topic.endswith("/availability") and (payload == ONLINE or topic == self._topics.availability)
            ]
            self._retained.update(dict.fromkeys(offline, OFFLINE))
            self._mark_dirty(offline)

    def _as_message(self, entry: Entry, replayed: bool) -> Message | None:
        """The event's publication; None if it cannot be read and is refused."""
        try:
            payload = as_replayed(entry.payload, self._topics.node) if replayed else entry.payload
        except ValueError as error:  # stored by another version
            _log.error("an event in the outbox cannot be read any more (%s) and is not sent", error)
            self.outbox.refuse(entry.number)
            return None
        return Message(self._topics.camera(entry.camera, "events"), payload, entry.number)

    def _mark_dirty(self, topics: Iterable[str]) -> None:
        """Publish these before any event, the node's availability last."""
        self._dirty_retained |= dict.fromkeys(topics, 0)
        self._dirty_retained.pop(self._topics.availability, None)
        self._dirty_retained[self._topics.availability] = 0

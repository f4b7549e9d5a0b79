"""The subscriber: receives events, states and availability of nodes from a broker."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping

from edge_emotion.client.connection import WINDOW, ReceivedMessage
from edge_emotion.client.gaps import GapDetector, Totals
from edge_emotion.client.items import EventReceived, Item
from edge_emotion.client.network_thread import SHARE, SubscriberThread, subscriber_id
from edge_emotion.client.reader import CameraStatus, Reader
from edge_emotion.client.settings import broker_settings
from edge_emotion.config.settings import MqttSettings
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.errors import ConfigError
from edge_emotion.mqtt.timing import Timing
from edge_emotion.wire.topics import NAME_PATTERN

_log = logging.getLogger(__name__)

SESSION_EXPIRY = 7 * 86_400
"""Seconds for which the broker keeps a named session."""


class Client:
    """Receives events, states and availability of one node or of all. A context manager, for one thread.

    A lost connection is made again automatically. Messages of the time between are received then, as far as the broker
    has kept them: for five minutes, or with ``session`` for ``session_expiry`` seconds, also while the program does
    not run.
    """

    def __init__(
        self,
        settings: MqttSettings | None = None,
        *,
        node: str | None = None,
        camera: str | None = None,
        session: str | None = None,
        session_expiry: int = SESSION_EXPIRY,
        group: str | None = None,
        gaps: bool = True,
        positions: Mapping[str, int] | None = None,
        batch: int = 0,
        stats: bool = False,
        timing: Timing | None = None,
    ) -> None:
        """Nothing is connected yet. Raises ConfigError for an impossible name or combination.

        - ``settings``: default is ``broker_settings()``, from the environment
        - ``node``, ``camera``: receive only these
        - ``session``: a name under which the broker keeps messages for ``session_expiry`` s while this program does not
          run; one for each program and choice of ``node`` and ``group``. An event is acknowledged when the next one is
          taken or the ``with`` block ends without an error; otherwise it is sent again
        - ``group``: share the events with all clients of the same group, each event goes to one of them. States and
          availability go to all. No client receives all numbers, so gap detection is off
        - ``gaps=False``: no gap detection, for example if the broker's access rules hide some cameras of a node
        - ``batch``: up to so many items may be taken before ``acknowledge``, which acknowledges all of them; taking one
          acknowledges none. Only events are received, and statistics. Needs a ``session``
        - ``stats``: also receive the statistics of nodes, as far as a camera has a last hour in them
        - ``positions``: those of an earlier client, to detect events that were missed in between
        """
        self._settings = settings or broker_settings()
        for name in (node, camera, session, group):
            if name is not None and not re.fullmatch(NAME_PATTERN, name):
                raise ConfigError(f"{name!r} is no name: use letters, digits, - and _, at most 64")
        if group is not None and self._settings.protocol != "5":
            raise ConfigError(
                "a group needs MQTT 5, 3.1.1 has no shared subscriptions: leave out group, or set protocol 5"
            )
        if batch and session is None:
            raise ConfigError("a batch needs a session: without one the broker sends nothing again")
        if not 1 <= session_expiry < 2**32:
            raise ConfigError(f"session_expiry {session_expiry} is not a number of seconds from 1 to {2**32 - 1}")
        self._node, self._shared = node, group is not None
        detector = GapDetector(positions) if gaps and group is None else None
        self._reader = Reader(self._settings.prefix, node, camera, detector)
        # Never the configured client id: a broker disconnects the daemon if it has the same one.
        client_id = subscriber_id(session)
        keep = session_expiry if session else 0
        self._batch, topics = batch, self._topics(group)
        topics = (topics[-1:] if batch else topics) + ([self._stats_topic(group)] if stats else [])
        self._network = SubscriberThread(
            self._settings,
            client_id,
            topics,
            keep=keep,
            timing=timing or Timing(),
            window=max(WINDOW, 2 * batch),
        )
        self._unacknowledged: list[ReceivedMessage] = []

    def __enter__(self) -> Client:
        """Connect and subscribe. Raises SinkError if there is no connection, ConfigError for unusable files."""
        self.connect()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Disconnect. After an error, the last item is not acknowledged: a named session receives it again."""
        if kind is None:
            self.acknowledge()
        self.close()

    @property
    def connected(self) -> bool:
        """True while there is a connection. Without one, ``nodes`` and ``cameras`` are not updated."""
        return self._network.connected

    @property
    def waiting(self) -> int:
        """Messages that were received and not yet taken."""
        return self._network.waiting

    @property
    def nodes(self) -> Mapping[str, bool]:
        """Node -> online or not, as of the last item taken. Like ``cameras``, it changes only while you iterate."""
        return self._reader.nodes

    @property
    def cameras(self) -> Mapping[tuple[str, str], CameraStatus]:
        """(node, camera) -> its latest availability and state, as of the last item taken."""
        return self._reader.cameras

    @property
    def not_understood(self) -> int:
        """Messages that were skipped because they do not conform to the MQTT contract."""
        return self._reader.not_understood

    @property
    def checks_gaps(self) -> bool:
        """False without gap detection: in a group, or with ``gaps=False``."""
        return self._reader.detector is not None

    @property
    def totals(self) -> Totals:
        """Counts of all nodes together."""
        return self._reader.totals

    @property
    def node_totals(self) -> dict[str, Totals]:
        """Node -> its counts; empty without gap detection."""
        return self._reader.detector.totals if self._reader.detector else {}

    @property
    def positions(self) -> dict[str, int]:
        """Node -> number of its last event: the argument ``positions`` for a later client."""
        return self._reader.detector.positions if self._reader.detector else {}

    def is_online(self, node: str, camera: str) -> bool:
        """True if both the node and its camera are online."""
        return self.nodes.get(node, False) and bool(self.cameras.get((node, camera), CameraStatus()).online)

    def connect(self) -> None:
        """Do what ``with`` does at its beginning; then call ``close`` at the end."""
        if self._settings.tls is not None and self._settings.tls.insecure:
            _log.warning(
                "mqtt.tls.insecure is set: messages of any host that answers as %s are accepted", self._settings.address
            )
        if self._shared:
            _log.info("the events are shared with a group: gap detection is off")
        try:
            self._network.open()
        except BaseException:
            self._network.close()
            raise

    def events(self, timeout: float | None = None, *, duplicates: bool = False) -> Iterator[EmotionEvent]:
        """Events as they arrive; ends after ``timeout`` seconds without an event, by default only when closed.

        An event that is delivered twice is yielded once, unless ``duplicates`` is set or gap detection is off.
        """
        until = _deadline(timeout)
        while (item := self.receive(_left(until))) is not None:
            if isinstance(item, EventReceived) and (duplicates or item.arrival != "duplicate"):
                yield item.event
                until = _deadline(timeout)

    def items(self, timeout: float | None = None) -> Iterator[Item]:
        """Everything as it arrives: events with their arrival, states, availability. Ends like ``events``."""
        while (item := self.receive(timeout)) is not None:
            yield item

    def receive(self, timeout: float | None = None) -> Item | None:
        """The next item; None after ``timeout`` seconds without one, and after ``close``."""
        if not self._batch:
            self.acknowledge()
        until = _deadline(timeout)
        while (message := self._network.get(_left(until))) is not None:
            item = self._reader.read(message)
            if item is not None:
                self._unacknowledged.append(message)
                return item
            self._network.done(message)
        return None

    def acknowledge(self) -> None:
        """Acknowledge what was taken. The next call of ``receive`` does so, too, unless there is a ``batch``."""
        for message in self._unacknowledged:
            self._network.done(message)
        self._unacknowledged.clear()

    def close(self) -> None:
        """Disconnect; iterations end. May be called from another thread, and twice."""
        self._network.close()

    def _topics(self, group: str | None) -> list[str]:
        """Topics of all cameras, whatever ``camera`` is: the event numbers are those of the node."""
        root = f"{self._settings.prefix}/{self._node or '+'}"
        return [f"{root}/availability", f"{root}/+/availability", f"{root}/+/state", f"{_share(group)}{root}/+/events"]

    def _stats_topic(self, group: str | None) -> str:
        return f"{_share(group)}{self._settings.prefix}/{self._node or '+'}/stats"


def _share(group: str | None) -> str:
    return f"{SHARE}{group}/" if group else ""


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())

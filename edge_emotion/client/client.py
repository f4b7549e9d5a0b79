"""The subscriber: receives events, states and availability of nodes from a broker."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterator, Mapping

from edge_emotion.client.connection import ReceivedMessage
from edge_emotion.client.gaps import GapDetector, Totals
from edge_emotion.client.items import EventReceived, Item
from edge_emotion.client.network_thread import SubscriberThread
from edge_emotion.client.reader import CameraStatus, Reader
from edge_emotion.client.settings import broker_settings
from edge_emotion.config.settings import MqttSettings
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.errors import ConfigError
from edge_emotion.mqtt.timing import Timing
from edge_emotion.wire.topics import NAME_PATTERN

_log = logging.getLogger(__name__)

KEPT_FOR = 7 * 86_400
"""Seconds for which the broker keeps a named session."""


class Client:
    """Receives events, states and availability of one node or of all. A context manager, for one thread.

    A lost connection comes back by itself, and what happened meanwhile is made up for as far as the broker has kept
    it: five minutes, or with ``session`` for ``session_expiry`` seconds, also while the program does not run.
    """

    def __init__(
        self,
        settings: MqttSettings | None = None,
        *,
        node: str | None = None,
        camera: str | None = None,
        session: str | None = None,
        session_expiry: int = KEPT_FOR,
        group: str | None = None,
        gaps: bool = True,
        positions: Mapping[str, int] | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Nothing is connected yet. Raises ConfigError for an impossible name or combination.

        - ``settings``: without them, what ``broker_settings()`` finds in the environment
        - ``node``, ``camera``: only these
        - ``session``: a name under which the broker keeps what comes while this program is away; one name per program
          and choice of ``node`` and ``group``. An event is then given back to the broker, to come again, unless the
          next one was taken or the ``with`` block ended without an error
        - ``group``: share the events with all clients of the same group, each goes to one of them. States and
          availability still go to all. None of them gets all numbers, so nobody can tell what is missing: gap
          detection is off
        - ``gaps=False``: also if the broker's access rules hide some of the node's cameras
        - ``positions``: what an earlier client's ``positions`` said, to find what went missing since
        """
        self._settings = settings or broker_settings()
        for name in (node, camera, session, group):
            if name is not None and not re.fullmatch(NAME_PATTERN, name):
                raise ConfigError(f"{name!r} is no name: use messages, digits, - and _, 64 at most")
        if session is not None and self._settings.protocol != "5":
            raise ConfigError("a session that the broker keeps needs MQTT 5: leave out session, or set protocol 5")
        if not 1 <= session_expiry < 2**32:
            raise ConfigError(f"session_expiry {session_expiry} is no number of seconds from 1 to {2**32 - 1}")
        self._node, self._shared = node, group is not None
        detector = GapDetector(positions) if gaps and group is None else None
        self._reader = Reader(self._settings.prefix, node, camera, detector)
        # Never the configured id: a broker drops the daemon that has the same one.
        client_id = f"edge-emotion-subscriber-{session or secrets.token_hex(4)}"
        keep = session_expiry if session else 0
        self._link = SubscriberThread(
            self._settings, client_id, self._topics(group), keep=keep, timing=timing or Timing()
        )
        self._held: ReceivedMessage | None = None

    def __enter__(self) -> Client:
        """Connect and subscribe. Raises SinkError if the broker cannot be reached or refuses, ConfigError for files."""
        self.connect()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Leave; an item that was being worked on when an error occurred comes again to a named session."""
        if kind is None:
            self.acknowledge()
        self.close()

    @property
    def connected(self) -> bool:
        """True while there is a connection; what ``nodes`` and ``cameras`` say is as old as its loss."""
        return self._link.connected

    @property
    def nodes(self) -> Mapping[str, bool]:
        """Node -> online or not, as of the last item taken; like ``cameras`` it changes only while you iterate."""
        return self._reader.nodes

    @property
    def cameras(self) -> Mapping[tuple[str, str], CameraStatus]:
        """(node, camera) -> the last it said of itself."""
        return self._reader.cameras

    @property
    def not_understood(self) -> int:
        """Messages that were skipped because they are not of the contract."""
        return self._reader.not_understood

    @property
    def checks_gaps(self) -> bool:
        """False if missing events cannot be told: in a group, or on wish."""
        return self._reader.detector is not None

    @property
    def totals(self) -> Totals:
        """The counts of all nodes together."""
        return self._reader.totals

    @property
    def node_totals(self) -> dict[str, Totals]:
        """Node -> its counts; empty without gap detection."""
        return self._reader.detector.totals if self._reader.detector else {}

    @property
    def positions(self) -> dict[str, int]:
        """Node -> number of its last event, for the ``positions`` of a later client."""
        return self._reader.detector.positions if self._reader.detector else {}

    def is_online(self, node: str, camera: str) -> bool:
        """True if both the node and its camera say so."""
        return self.nodes.get(node, False) and bool(self.cameras.get((node, camera), CameraStatus()).online)

    def connect(self) -> None:
        """What ``with`` does at its beginning; then ``close`` is yours."""
        if self._settings.tls is not None and self._settings.tls.insecure:
            _log.warning("mqtt.tls.insecure is set: whoever answers as %s is believed", self._settings.host)
        if self._shared:
            _log.info("the events are shared with a group: gap detection is off")
        try:
            self._link.open()
        except BaseException:
            self._link.close()
            raise

    def events(self, timeout: float | None = None, *, duplicates: bool = False) -> Iterator[EmotionEvent]:
        """Events as they come; ends when none came for ``timeout`` seconds, without one only when closed.

        An event that is delivered twice is given once, unless ``duplicates`` are wanted or gap detection is off.
        """
        until = _deadline(timeout)
        while (item := self.receive(_left(until))) is not None:
            if isinstance(item, EventReceived) and (duplicates or item.arrival != "duplicate"):
                yield item.event
                until = _deadline(timeout)

    def items(self, timeout: float | None = None) -> Iterator[Item]:
        """Everything as it comes: events with their arrival, states, availability. Ends like ``events``."""
        while (item := self.receive(timeout)) is not None:
            yield item

    def receive(self, timeout: float | None = None) -> Item | None:
        """The next item; None if there was none for ``timeout`` seconds, and after ``close``."""
        self.acknowledge()
        until = _deadline(timeout)
        while (message := self._link.get(_left(until))) is not None:
            item = self._reader.read(message)
            if item is not None:
                self._held = message
                return item
            self._link.done(message)
        return None

    def acknowledge(self) -> None:
        """The last item is dealt with. ``receive`` says so itself, when it is called for the next one."""
        if self._held is not None:
            self._link.done(self._held)
            self._held = None

    def close(self) -> None:
        """Leave the broker; iterations end. May be called from another thread, and twice."""
        self._link.close()

    def _topics(self, group: str | None) -> list[str]:
        """All cameras, whatever the filter: the numbers are those of the node."""
        root = f"{self._settings.prefix}/{self._node or '+'}"
        share = f"$share/{group}/" if group else ""
        return [f"{root}/availability", f"{root}/+/availability", f"{root}/+/state", f"{share}{root}/+/events"]


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())

"""Events, states and availability over MQTT. The contract is docs/reference/mqtt.md."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.config.settings import MqttSettings
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import SinkError
from edge_emotion.mqtt.bounded_client import new_client
from edge_emotion.mqtt.connection import IncomingMessage
from edge_emotion.mqtt.timing import Timing
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.outbox import Outbox
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.sinks.mqtt.announcer import Announcer, Device
from edge_emotion.sinks.mqtt.client_id import make_client_id
from edge_emotion.sinks.mqtt.handlers import IncomingHandlers
from edge_emotion.sinks.mqtt.outbox_writer import OutboxWriter
from edge_emotion.sinks.mqtt.send_queue import Message, SendQueue
from edge_emotion.sinks.mqtt.sender import Sender
from edge_emotion.wire.payloads import OFFLINE, ONLINE, availability_to_payload, event_to_json, state_to_json, to_json
from edge_emotion.wire.topics import Topics

__all__ = ["MqttSink", "Timing"]

_log = logging.getLogger(__name__)


class MqttSink:
    """Publishes to one broker; events wait while it is away, with a state directory on the disk, else in memory.

    The callers only add to the outbox and the send queue. One thread writes the events to the disk; another one
    connects, publishes the events that are written, and reconnects.
    """

    def __init__(
        self,
        settings: MqttSettings,
        node: str,
        info: Mapping[str, Any],
        cameras: Sequence[str],
        timing: Timing | None = None,
        *,
        device: Device | None = None,
        state_dir: Path | None = None,
        numbers: EventCounter | None = None,
    ) -> None:
        """``info`` and ``device`` are as in ``describe``. Cameras are offline until ``camera_available``.

        ``state_dir`` exists and is used by this node only. ``numbers`` is the counter of the events' ``seq``; its
        outbox file is used then, else one in ``state_dir``.
        """
        self._settings, self._timing, self._node, self._numbers = settings, timing or Timing(), node, numbers
        self._topics = Topics(settings.prefix, node)
        self._outbox = Outbox(settings.outbox, settings.outbox_max_age or math.inf)
        self._send_queue = SendQueue(self._topics, self._outbox, to_json(info))
        announced = None if state_dir is None else state_dir / f"{node}.announced.json"
        self._announcer = Announcer(self._send_queue, self._topics, announced)
        self._announcer.on_forbidden = self._log_forbidden
        self._described = cameras, device
        own = [self._topics.availability, self._topics.info]
        self._handlers = IncomingHandlers(own, on_message=self._on_message, on_confirmed=self._on_confirmed)
        self._handlers.on_refused = self._announcer.refuse
        self._listener: Callable[[str, bytes], None] | None = None
        self._followed: dict[str, Callable[[bytes], None]] = {}
        file = None if state_dir is None else OutboxFile(state_dir / f"{node}.outbox.db")
        self._file = file if numbers is None else numbers.store
        self._writer: OutboxWriter | None = None
        self._sender: Sender | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._overflowing = False
        self._namesake_logged = False

    @property
    def connected(self) -> bool:
        """True from a CONNACK that accepts until the end of that connection."""
        return self._sender is not None and self._sender.connected

    @property
    def failure(self) -> str | None:
        """Why the credentials were refused at the last attempt, or why the network thread has ended; else None."""
        return None if self._sender is None else self._sender.failure

    @property
    def ended(self) -> SinkError | None:
        """Why the network thread has ended although nobody stopped it: no event is delivered any more; else None."""
        return None if self._sender is None else self._sender.ended

    @property
    def hangs(self) -> bool:
        """True while a thread of the sink does not come back from a call for longer than ``Timing.turn``."""
        sender, writer, limit = self._sender, self._writer, self._timing.turn
        return (sender is not None and sender.hangs) or (writer is not None and writer.hangs(limit))

    @property
    def connections(self) -> int:
        """Connections that the broker has accepted."""
        return 0 if self._sender is None else self._sender.connections

    @property
    def last_failure(self) -> str | None:
        """Why the last connection was not made, or was lost; None if that never happened."""
        return None if self._sender is None else self._sender.log.last_failure

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return len(self._outbox)

    @property
    def dropped(self) -> int:
        """Events that were lost: the outbox was full or damaged, they waited too long, or the sink stopped."""
        return self._outbox.dropped + (0 if self._file is None else self._file.lost)

    @property
    def durable(self) -> bool:
        """True if events that wait survive the process."""
        return self._writer is not None and not self._writer.failing

    @property
    def refused(self) -> int:
        """Events that the broker refused for good, or that have no JSON form."""
        return self._outbox.refused

    def check(self) -> None:
        """Raises ConfigError or SinkError for an unusable client id, user, password or TLS file."""
        new_client(self._settings, self._settings.client_id or "check")

    def open(self) -> None:
        """Start connecting and return at once.

        Raises like ``check``, and SinkError if another process has this node's outbox open.
        """
        if self._closed or self._thread is not None:
            raise SinkError("an MQTT sink opens only once; make a new one")
        self.check()  # here, so that its errors end the start of the program
        if self._settings.tls is not None and self._settings.tls.insecure:
            _log.warning("mqtt.tls.insecure is set: events go to any host that answers as %s", self._settings.address)
        self._open_file()
        self._announce()
        token, path = ("", None) if self._file is None else (self._file.token, self._file.path)
        client_id = self._settings.client_id or make_client_id(self._node, token, path)
        will = self._topics.availability
        sender = Sender(self._settings, client_id, will, self._send_queue, self._timing, self._handlers)
        self._thread = threading.Thread(target=sender.run, name="mqtt-sink", daemon=True)
        self._sender = sender
        self._thread.start()

    def publish(self, event: EmotionEvent) -> None:
        """Add the event to the outbox. From any thread, at any time; returns at once."""
        try:
            payload = event_to_json(event)
        except ValueError as error:
            self._outbox.refuse()
            _log.error("event %s has no JSON form (%s) and is not sent", event.id, error)
            return
        full = not self._outbox.append(event.seq, event.camera, payload, time.monotonic())
        if full and not self._overflowing:
            _log.warning("%d events wait for the broker: from now on the oldest are dropped", self._settings.outbox)
        self._overflowing = full or (self._overflowing and self.waiting * 2 > self._settings.outbox)
        if self._closed:
            self._outbox.discard()

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Replace the camera's retained state. From any thread, at any time; returns at once."""
        try:
            payload = state_to_json(state)
        except ValueError as error:
            _log.error("the state of camera %s has no JSON form (%s) and is not sent", camera, error)
            return
        self._send_queue.retain(self._topics.camera(camera, "state"), payload)

    def camera_available(self, camera: str, available: bool) -> None:
        """Replace the camera's retained availability. From any thread, at any time; returns at once."""
        self._send_queue.retain(self._topics.camera(camera, "availability"), availability_to_payload(available))

    def listen(self, received: Callable[[str, bytes], None]) -> None:
        """From the next connection on, call ``received`` with topic and payload of each command, in another thread."""
        self._listener = received
        self._handlers.filters += self._topics.command_filters

    def follow(self, topic: str, received: Callable[[bytes], None]) -> None:
        """From the next connection on, call ``received`` with each message on ``topic``, retained ones too."""
        self._followed[topic] = received
        self._handlers.retained_filters.append(topic)

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str], device: Device | None) -> None:
        """Replace the node's description, plain JSON values, its cameras, and its device in Home Assistant.

        Topics and entities of other cameras are removed, and with None the device. The sink tries to connect at once,
        if it waits for its next attempt: the login may have been corrected.
        """
        self._send_queue.retain(self._topics.info, to_json(info))
        self._described = cameras, device
        self._announce()
        if self._sender is not None:
            self._sender.retry_now()

    def feature_state(self, camera: str, feature: str, payload: bytes) -> None:
        """Replace a feature's retained state. From any thread, at any time; returns at once."""
        self._send_queue.retain(self._topics.feature(camera, feature), payload)

    def respond(self, command: str, answer: Mapping[str, Any]) -> None:
        """Answer a request. From any thread, at any time; returns at once."""
        self._send_queue.send_once(self._topics.response(command), to_json(answer))

    def report(self, stats: Mapping[str, Any]) -> None:
        """Publish statistics if there is a connection. From any thread; returns at once."""
        if self.connected:
            self._send_queue.send_once(self._topics.stats, to_json(stats), qos=0)

    def close(self) -> None:
        """Deliver what waits, for at most ``drain_timeout`` s; publish offline and disconnect within a further second.

        Events that are left wait on the disk for the next start, or are dropped and counted.
        """
        if self._thread is None or self._sender is None or self._closed:
            return
        drain = self._settings.drain_timeout
        self._sender.stop(time.monotonic() + drain)
        self._thread.join(drain + self._timing.disconnect + 0.25)
        self._closed = True
        kept = self._writer is not None and self._writer.stop(self._timing.store)
        left = self._outbox.clear() if kept else self._outbox.discard()
        if left:
            fate = "they wait for the next start" if kept else "they are lost"
            _log.warning(
                "stopped while %d events were not delivered to broker %s; %s", left, self._settings.address, fate
            )

    def _announce(self) -> None:
        discovery = self._settings.discovery
        status = f"{discovery.prefix}/status"
        cameras, device = self._described
        if discovery.enabled and status not in self._handlers.filters:
            self._handlers.filters.append(status)
        self._announcer.announce(cameras, f"{discovery.prefix}/device/edge-emotion_{self._node}/config", device)

    def _on_message(self, message: IncomingMessage) -> None:
        """In the sender's thread."""
        if message.topic in (self._topics.availability, self._topics.info):
            self._check_namesake(message)
        elif message.topic in self._followed:
            self._followed[message.topic](message.payload)
        elif message.retained:
            _log.warning("a retained message on %.200r is ignored: send it without the retain flag", message.topic)
        elif message.topic == f"{self._settings.discovery.prefix}/status":
            if message.payload == ONLINE and self._sender is not None:
                self._sender.republish_soon()
        elif self._listener is not None:
            self._listener(message.topic, message.payload)

    def _check_namesake(self, message: IncomingMessage) -> None:
        """Another client publishes as this node: correct a false ``offline``, and log it once.

        With MQTT 3.1.1 the node's own messages arrive, too, and its own last will when the broker stops: no log then.
        """
        if message.retained or self._sender is None or self._sender.stopping:
            return
        if message.topic == self._topics.availability and message.payload == OFFLINE:
            self._send_queue.republish_availability()
        if self._settings.protocol == "5" and not self._namesake_logged:
            self._namesake_logged = True
            _log.warning(
                "another client, or the last will of an old connection, publishes on %s: if a second node is named %r, "
                "set another node name there",
                message.topic,
                self._node,
            )

    def _on_confirmed(self, message: Message) -> None:
        """In the sender's thread: the broker has a retained message."""
        self._send_queue.confirm(message)
        self._announcer.confirm(message)

    def _log_forbidden(self, root: str, reason: str) -> None:
        prefix, _, node = root.rpartition("/")
        _log.error(
            "the broker refuses to clear the retained topics below %s, which this node has left (%s): do it as a user "
            "who may: edge-emotion forget %s --prefix %s --mqtt %s --username NAME",
            root,
            reason,
            node,
            prefix,
            self._settings.address,
        )

    def _open_file(self) -> None:
        """Load the events of an earlier run. A disk that cannot be used is logged once, and is no error."""
        if self._file is None:
            return
        try:
            entries = self._file.open()
        except SinkError:  # an OSError too, but it does not end by itself
            raise
        except (sqlite3.Error, OSError) as error:
            self._file.close()
            _log.warning(
                "cannot use the outbox %s (%s): events that wait for the broker are kept in memory only and are lost "
                "at a restart; check the free space and the permissions there",
                self._file.path,
                error,
            )
            return
        if self._numbers is not None:
            self._numbers.hand_over()
        if entries:
            _log.info("%d events of an earlier run wait", len(entries))
        self._outbox.load(entries, time.monotonic())
        self._writer = OutboxWriter(self._file, self._outbox, self._settings.outbox_sync_interval, self._numbers)
        self._writer.start()

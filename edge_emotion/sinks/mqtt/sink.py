"""Events, states and availability over MQTT. The contract is docs/reference/mqtt.md."""

from __future__ import annotations

import logging
import math
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.config.settings import MqttSettings
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import SinkError
from edge_emotion.mqtt.connection import IncomingMessage, new_client
from edge_emotion.mqtt.timing import Timing
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.outbox import Outbox
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.sinks.mqtt.announcer import Announcer, Device
from edge_emotion.sinks.mqtt.outbox_writer import OutboxWriter
from edge_emotion.sinks.mqtt.send_queue import SendQueue
from edge_emotion.sinks.mqtt.sender import IncomingHandlers, Sender
from edge_emotion.wire.payloads import OFFLINE, ONLINE, event_to_json, state_to_json, to_json
from edge_emotion.wire.topics import Topics

__all__ = ["MqttSink", "Timing"]

_log = logging.getLogger(__name__)


class MqttSink:
    """Publishes to one broker; events wait while it is away, with a state directory on the disk, else in memory.

    The callers only put things into a send_queue. A thread of its own connects, sends, and connects again; another one
    writes the events down, before the first one sends them.
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

        ``state_dir`` exists and is this node's. ``numbers`` is where the events get their ``seq`` from, if they go
        to no other sink: after a crash it goes on after the last one that can have been sent.
        """
        self._settings, self._timing, self._node, self._numbers = settings, timing or Timing(), node, numbers
        self._topics = Topics(settings.prefix, node)
        outbox = Outbox(settings.outbox, settings.outbox_max_age or math.inf)
        self._send_queue = SendQueue(self._topics, outbox, to_json(info))
        announced = None if state_dir is None else state_dir / f"{node}.announced.json"
        self._announcer = Announcer(self._send_queue, self._topics, announced)
        self._described = cameras, device
        self._handlers = IncomingHandlers(heard=self._hear, settled=self._announcer.settled)
        self._listener: Callable[[str, bytes], None] | None = None
        self._file = None if state_dir is None else OutboxFile(state_dir / f"{node}.outbox.db")
        self._writer: OutboxWriter | None = None
        self._sender: Sender | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._overflowing = False

    @property
    def connected(self) -> bool:
        """True between a CONNACK that succeeded and the end of that connection."""
        return self._sender is not None and self._sender.connected

    @property
    def failure(self) -> str | None:
        """Why the sink has given up for good; None while it has not."""
        return None if self._sender is None else self._sender.failure

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return len(self._send_queue)

    @property
    def dropped(self) -> int:
        """Events that were given up: the outbox was full or damaged, they waited too long, or the sink stopped."""
        return self._send_queue.dropped + (0 if self._file is None else self._file.lost)

    @property
    def durable(self) -> bool:
        """True if events that wait outlive the process."""
        return self._writer is not None and not self._writer.failing

    @property
    def refused(self) -> int:
        """Events that the broker answered with a refusal, or that have no JSON form."""
        return self._send_queue.refused

    def check(self) -> None:
        """Raises ConfigError or SinkError for an unusable password or TLS file."""
        new_client(self._settings, "check")

    def open(self) -> None:
        """Start connecting and return.

        Raises ConfigError or SinkError for an unusable password or TLS file, SinkError if another process has this
        node's outbox open.
        """
        if self._closed or self._thread is not None:
            raise SinkError("an MQTT sink opens only once; make a new one")
        self.check()  # its errors are raised here, where they end the start
        if self._settings.tls is not None and self._settings.tls.insecure:
            _log.warning("mqtt.tls.insecure is set: whoever answers as %s gets the events", self._settings.host)
        self._open_file()
        self._announce()
        token = self._file.token if self._file is not None and self._file.token else secrets.token_hex(4)
        # The same one after a crash: the broker then ends the old connection, and its last will cannot come later.
        client_id = self._settings.client_id or f"edge-emotion-{self._node}-{token}"
        will = self._topics.availability
        sender = Sender(self._settings, client_id, will, self._send_queue, self._timing, self._handlers)
        self._thread = threading.Thread(target=sender.run, name="mqtt-sink", daemon=True)
        self._sender = sender
        self._thread.start()

    def publish(self, event: EmotionEvent) -> None:
        """Hand over to the network thread and return. From any thread, at any time."""
        try:
            payload = event_to_json(event)
        except ValueError as error:
            self._send_queue.refuse()
            _log.error("event %s has no JSON form (%s) and is not sent", event.id, error)
            return
        full = not self._send_queue.post(event.seq, event.camera, payload)
        if full and not self._overflowing:
            _log.warning("%d events wait for the broker: from now on the oldest are dropped", self._settings.outbox)
        self._overflowing = full or (self._overflowing and self.waiting * 2 > self._settings.outbox)
        if self._closed:
            self._send_queue.discard()

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
        self._send_queue.retain(self._topics.camera(camera, "availability"), ONLINE if available else OFFLINE)

    def listen(self, heard: Callable[[str, bytes], None]) -> None:
        """From the next connection on, hand over what is asked of the node: topic and payload, in another thread."""
        self._listener = heard
        self._handlers.filters += self._topics.command_filters

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str], device: Device | None) -> None:
        """Replace what the node says of itself, plain JSON values, its cameras, and its device in Home Assistant.

        Cameras that are no longer among them are taken back, and with None the device.
        """
        self._send_queue.retain(self._topics.info, to_json(info))
        self._described = cameras, device
        self._announce()

    def feature_state(self, camera: str, feature: str, payload: bytes) -> None:
        """Replace a feature's retained state. From any thread, at any time; returns at once."""
        self._send_queue.retain(self._topics.feature(camera, feature), payload)

    def respond(self, command: str, answer: Mapping[str, Any]) -> None:
        """Answer a request. From any thread, at any time; returns at once."""
        self._send_queue.note(self._topics.response(command), to_json(answer))

    def report(self, stats: Mapping[str, Any]) -> None:
        """Say how the node is doing; nothing if there is no connection. From any thread; returns at once."""
        if self.connected:
            self._send_queue.note(self._topics.stats, to_json(stats), qos=0)

    def close(self) -> None:
        """Deliver what waits, for at most ``drain_timeout`` s; say offline and disconnect within a further second.

        What is left then waits on the disk for the next start, or is dropped and counted.
        """
        if self._thread is None or self._sender is None or self._closed:
            return
        drain = self._settings.drain_timeout
        self._sender.stop(time.monotonic() + drain)
        self._thread.join(drain + self._timing.farewell + 0.25)
        self._closed = True
        kept = self._writer is not None and self._writer.stop(self._timing.store)
        self._send_queue.store_with(None)
        left = self._send_queue.leave() if kept else self._send_queue.discard()
        if left:
            fate = "they wait for the next start" if kept else "they are lost"
            _log.warning("stopped while %d events were not delivered to broker %s; %s", left, self._settings.host, fate)

    def _announce(self) -> None:
        discovery = self._settings.discovery
        status = f"{discovery.prefix}/status"
        cameras, device = self._described
        if discovery.enabled and status not in self._handlers.filters:
            self._handlers.filters.append(status)
        self._announcer.announce(cameras, f"{discovery.prefix}/device/edge-emotion_{self._node}/config", device)

    def _hear(self, heard: IncomingMessage) -> None:
        """In the sender's thread."""
        if heard.retained:
            _log.warning("a retained message on %.200r is not obeyed: send it without the retain flag", heard.topic)
        elif heard.topic == f"{self._settings.discovery.prefix}/status":
            if heard.payload == ONLINE and self._sender is not None:
                self._sender.repeat_soon()
        elif self._listener is not None:
            self._listener(heard.topic, heard.payload)

    def _open_file(self) -> None:
        """Take up what an earlier run left behind. What is wrong with the disk is said once, and is no error."""
        if self._file is None:
            return
        try:
            entries = self._file.open()
        except SinkError:  # an OSError too, but one that an operator must end
            raise
        except (sqlite3.Error, OSError) as error:
            self._file.close()
            _log.warning(
                "cannot use the outbox %s (%s): events that wait for the broker are kept in memory only, and a restart "
                "loses them; check the free space and the rights there",
                self._file.path,
                error,
            )
            return
        if self._numbers is not None:
            self._numbers.resume(self._file.mark)
        if entries:
            _log.info("%d events wait since an earlier run", len(entries))
        self._send_queue.load(entries)
        self._writer = OutboxWriter(self._file, self._send_queue, self._settings.outbox_sync_interval, self._numbers)
        self._writer.start()

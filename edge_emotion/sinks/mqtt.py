"""Events, states and availability over MQTT. The contract is docs/mqtt.md."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from edge_emotion.config import MqttSettings
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import SinkError
from edge_emotion.payload import Topics, event_to_json, info_to_json, state_to_json
from edge_emotion.sinks.mqtt_client import new_client
from edge_emotion.sinks.mqtt_courier import Courier, Timing
from edge_emotion.sinks.mqtt_mailbox import OFFLINE, ONLINE, Mailbox

__all__ = ["MqttSink", "Timing"]

_log = logging.getLogger(__name__)


class MqttSink:
    """Publishes to one broker; events wait in memory while it is away.

    The callers only put things into a mailbox. A thread of its own connects, sends, and connects again.
    """

    def __init__(
        self,
        settings: MqttSettings,
        node: str,
        info: Mapping[str, Any],
        cameras: Sequence[str],
        timing: Timing | None = None,
    ) -> None:
        """``info`` describes the node in plain JSON values. Cameras are offline until ``camera_available``."""
        self._settings, self._timing = settings, timing or Timing()
        self._topics = Topics(settings.prefix, node)
        self._client_id = settings.client_id or f"edge-emotion-{node}-{secrets.token_hex(4)}"
        self._mailbox = Mailbox(self._topics, settings.outbox, info_to_json(info), cameras)
        self._courier: Courier | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._overflowing = False

    @property
    def connected(self) -> bool:
        """True between a CONNACK that succeeded and the end of that connection."""
        return self._courier is not None and self._courier.connected

    @property
    def failure(self) -> str | None:
        """Why the sink has given up for good; None while it has not."""
        return None if self._courier is None else self._courier.failure

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return len(self._mailbox)

    @property
    def dropped(self) -> int:
        """Events that were given up because the outbox was full or the sink stopped."""
        return self._mailbox.dropped

    @property
    def refused(self) -> int:
        """Events that the broker answered with a refusal, or that have no JSON form."""
        return self._mailbox.refused

    def check(self) -> None:
        """Raises ConfigError or SinkError for an unusable password or TLS file."""
        new_client(self._settings, self._client_id)

    def open(self) -> None:
        """Start connecting and return. Raises ConfigError or SinkError for an unusable password or TLS file."""
        if self._closed or self._thread is not None:
            raise SinkError("an MQTT sink opens only once; make a new one")
        self.check()  # its errors are raised here, where they end the start
        if self._settings.tls is not None and self._settings.tls.insecure:
            _log.warning("mqtt.tls.insecure is set: whoever answers as %s gets the events", self._settings.host)
        courier = Courier(self._settings, self._client_id, self._topics.availability, self._mailbox, self._timing)
        self._thread = threading.Thread(target=courier.run, name="mqtt-sink", daemon=True)
        self._courier = courier
        self._thread.start()

    def publish(self, event: EmotionEvent) -> None:
        """Hand over to the network thread and return. From any thread, at any time."""
        try:
            event_to_json(event)
        except ValueError as error:
            self._mailbox.refuse()
            _log.error("event %s has no JSON form (%s) and is not sent", event.id, error)
            return
        full = not self._mailbox.post(event)
        if full and not self._overflowing:
            _log.warning("%d events wait for the broker: from now on the oldest are dropped", self._settings.outbox)
        self._overflowing = full or (self._overflowing and self.waiting * 2 > self._settings.outbox)
        if self._closed:
            self._mailbox.discard()

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Replace the camera's retained state. From any thread, at any time; returns at once."""
        try:
            payload = state_to_json(state)
        except ValueError as error:
            _log.error("the state of camera %s has no JSON form (%s) and is not sent", camera, error)
            return
        self._mailbox.retain(self._topics.camera(camera, "state"), payload)

    def camera_available(self, camera: str, available: bool) -> None:
        """Replace the camera's retained availability. From any thread, at any time; returns at once."""
        self._mailbox.retain(self._topics.camera(camera, "availability"), ONLINE if available else OFFLINE)

    def close(self) -> None:
        """Deliver what waits, for at most ``drain_timeout`` s; say offline and disconnect within a further second."""
        if self._thread is None or self._courier is None or self._closed:
            return
        drain = self._settings.drain_timeout
        self._courier.stop(time.monotonic() + drain)
        self._thread.join(drain + self._timing.farewell + 0.25)
        self._closed = True
        left = self._mailbox.discard()
        if left:
            _log.warning("stopped while %d events were not delivered to broker %s", left, self._settings.host)

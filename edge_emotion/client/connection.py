"""One connection of a subscriber: paho-mqtt as the sink uses it, turned around."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_emotion.config.settings import MqttSettings
from edge_emotion.mqtt.connection import Connection

_WINDOW = 100
"""Messages at most that the broker may send before an earlier one is acknowledged."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message as it came. ``receipt`` is what its acknowledgement needs."""

    topic: str
    payload: bytes
    received_at: datetime
    receipt: tuple[SubscriberConnection, int]


class SubscriberConnection(Connection):
    """One connection that subscribes and receives; like its parent, for the one thread that owns it."""

    def __init__(
        self, settings: MqttSettings, client_id: str, topics: Sequence[str], deliver: Callable[[ReceivedMessage], None]
    ) -> None:
        super().__init__(settings, client_id, None)
        self.granted: str | None = None
        """The broker's answer to SUBSCRIBE: None until it came, then why it refuses, or nothing."""
        self._topics, self._deliver = topics, deliver
        self._modern = settings.protocol == "5"
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def open(self, timeout: float, *, expiry: int) -> None:
        """Connect the socket and send CONNECT; the broker keeps the session ``expiry`` s after a loss (MQTT 5 only)."""
        self._client.connect_timeout = timeout
        options: dict[str, Any] = {}
        if self._modern:
            # mosquitto 2.0.11 never saves a session that began clean, whatever its expiry says.
            options = {"clean_start": False, "properties": _properties(PacketTypes.CONNECT, expiry)}
        self._client.connect(self._settings.host, self._settings.effective_port, self._settings.keepalive, **options)

    def subscribe(self) -> None:
        """Ask for the topics; ``granted`` tells the answer."""
        self._client.subscribe([(topic, 1) for topic in self._topics])

    def acknowledge_by_hand(self) -> None:
        """From now on the broker keeps each message until ``acknowledge``."""
        self._client.manual_ack_set(True)

    def acknowledge(self, number: int) -> None:
        """The broker may forget this message."""
        self._client.ack(number, qos=1)

    def leave(self, patience: float, *, forget: bool) -> None:
        """Say goodbye; the broker is to forget the session, or to keep it for its time.

        Waits up to ``patience`` s for the broker to hang up. A next connection that is faster than it reads this one
        would take the session over, and acknowledgements with it.
        """
        sock = self._client.socket()
        bye = _properties(PacketTypes.DISCONNECT, 0) if forget and self._modern else None
        if sock is not None:
            with socket.socket(fileno=os.dup(sock.fileno())) as copy:  # paho closes its own at once
                self._client.disconnect(properties=bye)
                _await_end(copy, patience)
        self.close()

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, answers: list[ReasonCode], _more: Properties | None
    ) -> None:
        refused = [
            f"{topic}: {answer}" for topic, answer in zip(self._topics, answers, strict=True) if answer.is_failure
        ]
        self.granted = ", ".join(refused)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        now = datetime.now(timezone.utc)
        receipt = (self, message.mid if message.qos else 0)
        self._deliver(ReceivedMessage(message.topic, bytes(message.payload), now, receipt))


def _properties(packet: int, expiry: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry
    if packet == PacketTypes.CONNECT:
        properties.ReceiveMaximum = _WINDOW
    return properties


def _await_end(sock: socket.socket, patience: float) -> None:
    until = time.monotonic() + patience
    with suppress(OSError):
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(4096):
                return

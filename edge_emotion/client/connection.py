"""One connection of a subscriber to the broker."""

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
from edge_emotion.wire.payloads import MAX_PAYLOAD

_MAX_PACKET = 2 * MAX_PAYLOAD
"""Bytes of a packet that are read: enough to recognise a payload that is too large."""

WINDOW = 100
"""ReceiveMaximum: messages that the broker may send before an earlier one is acknowledged."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """One message as it was received. ``source`` is its connection and packet identifier, for the acknowledgement."""

    topic: str
    payload: bytes
    received_at: datetime
    source: tuple[SubscriberConnection, int]
    retained: bool = False


class SubscriberConnection(Connection):
    """A connection that subscribes to ``topics`` and calls ``deliver`` for each message; to be used by one thread."""

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        topics: Sequence[str],
        deliver: Callable[[ReceivedMessage], None],
        *,
        expiry: int,
        keep_session: bool = False,
        window: int = WINDOW,
    ) -> None:
        """The broker keeps the session for ``expiry`` s after the connection has ended (MQTT 5 only).

        ``keep_session``: with MQTT 3.1.1 the broker keeps it, too, without limit. ``window``: messages that a broker of
        MQTT 5 may send before an earlier one is acknowledged.
        """
        super().__init__(settings, client_id, None, max_packet=_MAX_PACKET, keep_session=keep_session)
        self.subscription_refusal: str | None = None
        """The broker's answer to SUBSCRIBE: None until it has arrived, then the refused topics, or an empty string."""
        self._topics, self._deliver, self._expiry, self._most = topics, deliver, expiry, window
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def connect(self, timeout: float) -> None:
        """Connect the socket and send CONNECT, which resumes an earlier session. Raises OSError or UnicodeError."""
        options: dict[str, Any] = {}
        if self._modern:
            # mosquitto 2.0.11 never saves a session that began clean, whatever its expiry says.
            options = {"clean_start": False, "properties": _properties(PacketTypes.CONNECT, self._expiry, self._most)}
        self._open(timeout, **options)

    def request_topics(self) -> None:
        """Send SUBSCRIBE; the answer is ``subscription_refusal``."""
        self._client.subscribe([(topic, 1) for topic in self._topics])

    def set_manual_acknowledgement(self) -> None:
        """From now on a message is acknowledged by ``acknowledge``, not when it is received."""
        self._client.manual_ack_set(True)

    def acknowledge(self, number: int) -> None:
        """Acknowledge the message with this packet identifier."""
        self._client.ack(number, qos=1)

    def end(self, timeout: float, *, end_session: bool) -> None:
        """Send DISCONNECT, and wait up to ``timeout`` s for the broker to close the connection.

        The session ends, too, or the broker keeps it until it expires. Without the wait, the next connection could
        take over the session before the broker has read the acknowledgements of this one.
        """
        sock = self._client.socket()
        properties = _properties(PacketTypes.DISCONNECT, 0) if end_session and self._modern else None
        if sock is not None:
            with socket.socket(fileno=os.dup(sock.fileno())) as copy:  # paho closes its own at once
                self._client.disconnect(properties=properties)
                _wait_for_end(copy, timeout)
        self.close()

    def _on_subscribe(
        self, _client: Client, _data: Any, _mid: int, answers: list[ReasonCode], _more: Properties | None
    ) -> None:
        refused = [
            f"{topic}: {answer}" for topic, answer in zip(self._topics, answers, strict=True) if answer.is_failure
        ]
        self.subscription_refusal = ", ".join(refused)

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        now = datetime.now(timezone.utc)
        source = (self, message.mid if message.qos else 0)
        retained = bool(message.retain)
        self._deliver(ReceivedMessage(message.topic, bytes(message.payload), now, source, retained))


def _properties(packet: int, expiry: int, window: int | None = None) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = expiry
    if window is not None:
        properties.ReceiveMaximum = window
    return properties


def _wait_for_end(sock: socket.socket, timeout: float) -> None:
    until = time.monotonic() + timeout
    with suppress(OSError):
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(4096):
                return

"""paho-mqtt as this project uses it: a configured client, and one connection driven by the thread that owns it."""

from __future__ import annotations

import select
import ssl
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from paho.mqtt import MQTTException
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_emotion.config.settings import MqttSettings
from edge_emotion.mqtt.tls import tls_context
from edge_emotion.mqtt.wakeup import Wakeup

_CREDENTIALS = (134, 135)
"""CONNACK reasons of MQTT 5, section 3.2.2.2; paho maps 4 and 5 of 3.1.1 onto them."""

WINDOW = 20
"""Messages at most that were sent and not acknowledged."""

LARGEST_PACKET = 16_384
"""Bytes of a message at most that a broker of MQTT 5 may send us: what is asked of a node is much shorter."""

TICK = 1.0
"""Seconds at most between two looks at the keep-alive."""

_MALFORMED = (MQTTException, ValueError, LookupError, struct.error)
"""What paho 2.0 to 2.2 raise on bytes that are not MQTT."""


class IncomingMessage(NamedTuple):
    """A message for this node. ``retained``: it was sent before we came, nobody knows when."""

    topic: str
    payload: bytes
    retained: bool


def new_client(settings: MqttSettings, client_id: str) -> Client:
    """A client with its protocol, credentials, TLS and reconnect delays, not yet connected.

    Raises ConfigError for an unreadable ``password_file`` and SinkError for unusable TLS files.
    """
    protocol = MQTTProtocolVersion.MQTTv5 if settings.protocol == "5" else MQTTProtocolVersion.MQTTv311
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    if settings.username is not None:
        client.username_pw_set(settings.username, settings.read_password())
    if settings.tls is not None:
        client.tls_set_context(tls_context(settings.tls))
    client.reconnect_delay_set(1, 60)
    return client


class Connection:
    """One connection to the broker, from ``connect`` to its end; then a new one is made.

    paho resends what was not acknowledged when *its client* reconnects. A client of its own for each connection
    leaves that decision to the owner. All methods are for the one thread that owns the connection: nothing is
    sent and no callback runs outside of ``connect``, ``step``, ``publish`` and ``disconnect``.
    """

    def __init__(self, settings: MqttSettings, client_id: str, will: tuple[str, bytes] | None) -> None:
        """``will`` is topic and payload, retained; None: nothing is left behind. Raises like ``new_client``."""
        self.accepted: bool | None = None
        """The broker's answer to CONNECT, None until it came."""
        self.refusal = ""
        """The broker's reason, if it did not accept."""
        self.credentials_refused = False
        """True if that reason is the user name, the password or what they allow."""
        self.ended: str | None = None
        """Why the connection is over, None while it is not."""
        self.window = WINDOW
        """Messages that may be unacknowledged at once: what the broker allows, 20 at most."""
        self._settings = settings
        self._modern = settings.protocol == "5"
        self._acknowledged: list[tuple[int, str | None]] = []
        self._heard: list[IncomingMessage] = []
        self._error: str | None = None
        self._client = client = new_client(settings, client_id)
        if will is not None:
            client.will_set(*will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_log = self._on_log

    @property
    def alive(self) -> bool:
        """False once it has ended."""
        return self.ended is None and self._client.socket() is not None

    def connect(self, timeout: float) -> None:
        """Connect the socket and send CONNECT; ``step`` brings the answer. Raises OSError or UnicodeError."""
        self._client.connect_timeout = timeout
        limits = None
        if self._modern:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.MaximumPacketSize = LARGEST_PACKET
        host, port = self._settings.host, self._settings.effective_port
        self._client.connect(host, port, self._settings.keepalive, properties=limits)

    def step(self, wakeup: Wakeup, timeout: float) -> None:
        """Wait up to ``timeout`` s for the network or the wakeup, then read, write and keep alive."""
        sock = self._client.socket()
        if sock is None:
            return
        network = sock.fileno()
        # Bytes that TLS has already decrypted do not make the socket readable again.
        decrypted = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
        outgoing = [network] if self._client.want_write() else []
        timeout = 0.0 if decrypted else max(0.0, min(timeout, TICK))
        readable, writable, _ = select.select([network, wakeup.fileno()], outgoing, [], timeout)
        if wakeup.fileno() in readable:
            wakeup.clear()
        if decrypted or network in readable:
            self._read()
        if writable:
            self._client.loop_write()
        self._client.loop_misc()

    def listen(self, filters: Sequence[str]) -> None:
        """Ask for what will be sent there from now on; ``take_heard`` gives it."""
        if self._modern:
            options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
            self._client.subscribe([(each, options) for each in filters])
        else:
            self._client.subscribe([(each, 1) for each in filters])

    def take_heard(self) -> list[IncomingMessage]:
        """What came since the last call."""
        taken, self._heard = self._heard, []
        return taken

    def publish(self, topic: str, payload: bytes, retain: bool, qos: int = 1) -> int:
        """Send; returns the number that its acknowledgement will carry, with QoS 0 that of its being sent."""
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    def take_acknowledged(self) -> list[tuple[int, str | None]]:
        """Acknowledgements since the last call: number, and the reason if the broker refused the message."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def disconnect(self) -> None:
        """Say goodbye, so that the broker does not send the last will."""
        self._client.disconnect()
        self.close()

    def close(self) -> None:
        """Drop the connection; without ``disconnect`` before it, the broker sends the last will."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        self.ended = self.ended or "closed"

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except _MALFORMED as error:
            self.close()
            self.ended = f"its answer is not MQTT: {error}"

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, answer: ReasonCode, properties: Properties | None
    ) -> None:
        self.accepted = not answer.is_failure
        self.refusal = str(answer) if answer.is_failure else ""
        self.credentials_refused = answer.value in _CREDENTIALS
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, _more: Properties | None
    ) -> None:
        told = flags.is_disconnect_packet_from_server or str(reason) != "Unspecified error"
        self.ended = str(reason) if told else self._error or "the broker closed the connection"

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _more: Properties | None) -> None:
        self._acknowledged.append((mid, str(reason) if reason.is_failure else None))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._heard.append(IncomingMessage(message.topic, bytes(message.payload), bool(message.retain)))

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        """The only place where paho tells why a socket failed."""
        if level == LogLevel.MQTT_LOG_ERR:
            self._error = text.removeprefix("failed to receive on socket: ")

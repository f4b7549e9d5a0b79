"""paho-mqtt as this project uses it: a configured client, and one connection driven by the thread that owns it."""

from __future__ import annotations

import math
import select
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, LogLevel, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import ConfigError
from edge_emotion.mqtt.tls import tls_context
from edge_emotion.mqtt.wakeup import Wakeup

_CREDENTIALS = (134, 135)
"""CONNACK reasons of MQTT 5, section 3.2.2.2; paho maps 4 and 5 of 3.1.1 onto them."""

_TRANSIENT = (128, 131, 145, 151)
"""PUBACK reasons after which the same message may be accepted later (MQTT 5, 3.4.2.1): unspecified error,
implementation specific error, packet identifier in use, quota exceeded."""

_RETAIN_NOT_SUPPORTED, _QOS_NOT_SUPPORTED = 154, 155
"""CONNACK reasons for a last will that exceeds the broker's limits."""

_OVERHEAD = 16
"""Bytes of a PUBLISH beside topic and payload, at most: header, lengths, packet identifier, no properties."""

WINDOW = 20
"""Largest number of messages that were sent and not acknowledged."""

MAX_PACKET = 16_384
"""Bytes of a packet that are read; also the MaximumPacketSize of MQTT 5. Commands for a node are much shorter."""

MAX_STRING = 65_535
"""Bytes of a string in MQTT (MQTT 5, 1.5.4)."""

_CHUNK = 65_536
"""Bytes that are discarded at a time."""

TICK = 1.0
"""Longest time in seconds between two checks of the keep-alive."""


class IncomingMessage(NamedTuple):
    """A message for this node. ``retained``: it was published before the subscription, at an unknown time."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """Limits that a broker of MQTT 5 announces (CONNACK, 3.2.2.3): bytes of a packet, QoS, retained messages."""

    packet: float = math.inf
    qos: int = 1
    retain: bool = True


UNLIMITED = BrokerLimits()


class Refusal(NamedTuple):
    """The reason in a PUBACK that refuses a message. ``final``: the same message would be refused again."""

    reason: str
    final: bool


class _BoundedClient(Client):
    """Reads at most ``max_packet`` bytes of a packet into memory; the rest is received and discarded.

    A message that was cut this way is still acknowledged and handed over: it is too long for its receiver, too. Another
    packet is malformed then, which ends the connection.
    """

    def __init__(self, max_packet: int, client_id: str, protocol: MQTTProtocolVersion) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        self._max_packet = max_packet
        self._excess = 0

    def _sock_recv(self, bufsize: int) -> bytes:
        while self._excess:
            discarded = len(super()._sock_recv(min(self._excess, _CHUNK)))
            if not discarded:
                return b""
            self._excess -= discarded
        packet = self._in_packet
        if not packet["have_remaining"]:
            return super()._sock_recv(bufsize)
        left = self._max_packet - len(packet["packet"])
        data = super()._sock_recv(min(bufsize, left))
        if len(data) == left and len(data) < packet["to_process"]:  # paho takes the packet for complete
            self._excess = packet["to_process"] - left
            packet["to_process"] = left
        return data


def new_client(settings: MqttSettings, client_id: str, max_packet: int = MAX_PACKET) -> Client:
    """A client with its protocol, credentials and TLS, not yet connected.

    Raises ConfigError for an unreadable ``password_file`` or a string that MQTT cannot transmit, SinkError for unusable
    TLS files.
    """
    protocol = MQTTProtocolVersion.MQTTv5 if settings.protocol == "5" else MQTTProtocolVersion.MQTTv311
    _check_string("client_id", client_id)
    client = _BoundedClient(max_packet, client_id, protocol)
    if settings.username is not None:
        password = settings.read_password()
        _check_string("username", settings.username)
        _check_string("password", password or "")
        client.username_pw_set(settings.username, password)
    if settings.tls is not None:
        client.tls_set_context(tls_context(settings.tls))
    return client


def _check_string(name: str, text: str) -> None:
    """Raises ConfigError, without the text: it may be a password."""
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"mqtt.{name} is not Unicode text: character {error.start + 1} is a surrogate") from None
    if length > MAX_STRING:
        raise ConfigError(f"mqtt.{name} has {length} bytes: MQTT transmits at most {MAX_STRING}")
    if "\0" in text:
        raise ConfigError(f"mqtt.{name} contains a NUL character: MQTT does not transmit it")


class Connection:
    """One connection to the broker, from ``connect`` to its end; then a new one is made.

    paho resends what was not acknowledged when *its client* reconnects. A client of its own for each connection
    leaves that decision to the owner. All methods are for the one thread that owns the connection: nothing is sent and
    no callback runs outside of ``connect``, ``step``, ``subscribe``, ``publish`` and ``disconnect``.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        will: tuple[str, bytes] | None,
        *,
        max_packet: int = MAX_PACKET,
        limits: BrokerLimits = UNLIMITED,
    ) -> None:
        """``will`` is topic and payload of the last will, retained; None: no last will.

        Of a received packet at most ``max_packet`` bytes are read. ``limits`` are those of an earlier connection: they
        apply to the last will, because a broker refuses a client whose last will exceeds them. Raises like
        ``new_client``.
        """
        self.limits = limits
        """Of this broker, from CONNACK on."""
        self.accepted: bool | None = None
        """The broker's answer to CONNECT; None until it has arrived."""
        self.refusal = ""
        """The reason in CONNACK if the broker did not accept."""
        self.credentials_refused = False
        """True if that reason is the user name, the password or missing rights."""
        self.ended: str | None = None
        """Why the connection has ended; None while it is open."""
        self.window = WINDOW
        """Messages that may be unacknowledged at once: the broker's ReceiveMaximum, at most 20."""
        self.settings = settings
        self._modern = settings.protocol == "5"
        self._acknowledged: list[tuple[int, Refusal | None]] = []
        self._messages: list[IncomingMessage] = []
        self._error: str | None = None
        self._client = client = new_client(settings, client_id, max_packet)
        if will is not None:
            client.will_set(*will, qos=limits.qos, retain=limits.retain)
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
        """Connect the socket and send CONNECT; ``step`` receives the answer. Raises OSError or UnicodeError."""
        self._client.connect_timeout = timeout
        limits = None
        if self._modern:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.MaximumPacketSize = MAX_PACKET
        host, port = self.settings.host, self.settings.effective_port
        self._client.connect(host, port, self.settings.keepalive, properties=limits)

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

    def subscribe(self, filters: Sequence[str], *, retained: bool = False) -> None:
        """Subscribe; ``take_messages`` returns what is received.

        With MQTT 5 without those of this client id and, unless ``retained``, without retained messages.
        """
        if self._modern:
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=1, noLocal=True, retainHandling=handling)
            self._client.subscribe([(each, options) for each in filters])
        else:
            self._client.subscribe([(each, 1) for each in filters])

    def take_messages(self) -> list[IncomingMessage]:
        """Messages received since the last call."""
        taken, self._messages = self._messages, []
        return taken

    def publish(self, topic: str, payload: bytes, retain: bool, qos: int = 1) -> int:
        """Publish within the broker's limits; returns the packet identifier that ``take_acknowledged`` will report.

        With QoS 0, also where the broker supports no other, it is reported when the message is sent. Raises ValueError
        for an impossible topic and for a message that is too large for the broker.
        """
        size = len(topic.encode()) + len(payload) + _OVERHEAD
        if size > self.limits.packet:
            raise ValueError(f"{size} bytes are more than the broker's limit of {self.limits.packet}")
        qos, retain = min(qos, self.limits.qos), retain and self.limits.retain
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    def take_acknowledged(self) -> list[tuple[int, Refusal | None]]:
        """Acknowledgements since the last call: packet identifier, and the refusal if the broker refused."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def disconnect(self) -> None:
        """Send DISCONNECT, so that the broker does not publish the last will, and close."""
        self._client.disconnect()
        self.close()

    def close(self, reason: str = "closed") -> None:
        """Close the socket; without ``disconnect`` before, the broker publishes the last will."""
        sock = self._client.socket()
        if sock is not None:
            sock.close()
        self.ended = self.ended or reason

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - bytes that are not MQTT raise many kinds in paho 2.0 to 2.2
            self.close()
            self.ended = f"its answer is not MQTT: {error}"

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, answer: ReasonCode, properties: Properties | None
    ) -> None:
        self.accepted = not answer.is_failure
        self.refusal = str(answer) if answer.is_failure else ""
        self.credentials_refused = answer.value in _CREDENTIALS
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.limits = _limits(self.limits, answer, properties)

    def _on_disconnect(
        self, _client: Client, _data: Any, flags: DisconnectFlags, reason: ReasonCode, _more: Properties | None
    ) -> None:
        given = flags.is_disconnect_packet_from_server or str(reason) != "Unspecified error"
        self.ended = str(reason) if given else self._error or "the broker closed the connection"

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _more: Properties | None) -> None:
        refusal = Refusal(str(reason), reason.value not in _TRANSIENT) if reason.is_failure else None
        self._acknowledged.append((mid, refusal))

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self._messages.append(IncomingMessage(message.topic, bytes(message.payload), bool(message.retain)))

    def _on_log(self, _client: Client, _data: Any, level: int, text: str) -> None:
        """The only place where paho reports why a socket failed."""
        if level == LogLevel.MQTT_LOG_ERR:
            self._error = text.removeprefix("failed to receive on socket: ")


def _limits(before: BrokerLimits, answer: ReasonCode, properties: Properties | None) -> BrokerLimits:
    """The limits that a CONNACK announces, or, if it refuses the last will, the limits for the next one."""
    if answer.is_failure:
        qos = 0 if answer.value == _QOS_NOT_SUPPORTED else before.qos
        return BrokerLimits(qos=qos, retain=before.retain and answer.value != _RETAIN_NOT_SUPPORTED)
    return BrokerLimits(
        packet=getattr(properties, "MaximumPacketSize", math.inf),
        qos=min(1, getattr(properties, "MaximumQoS", 1)),
        retain=bool(getattr(properties, "RetainAvailable", 1)),
    )

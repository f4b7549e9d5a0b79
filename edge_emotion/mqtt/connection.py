"""One connection to a broker, driven by the thread that owns it."""

from __future__ import annotations

import math
import re
import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, WebsocketConnectionError
from paho.mqtt.enums import LogLevel
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_emotion.config.settings import MqttSettings
from edge_emotion.mqtt.bounded_client import MAX_PACKET, new_client
from edge_emotion.mqtt.wakeup import Wakeup

_CREDENTIALS = (134, 135)
"""CONNACK reasons of MQTT 5, section 3.2.2.2; paho maps 4 and 5 of 3.1.1 onto them."""

_UNSUPPORTED_VERSION = 132
"""The CONNACK reason of a broker without this version of MQTT; paho maps 1 of 3.1.1 onto it."""

_TRANSIENT = (128, 131, 145, 151)
"""PUBACK reasons after which the same message may be accepted later (MQTT 5, 3.4.2.1): unspecified error,
implementation specific error, packet identifier in use, quota exceeded."""

_RETAIN_NOT_SUPPORTED, _QOS_NOT_SUPPORTED = 154, 155
"""CONNACK reasons for a last will that exceeds the broker's limits."""

_OVERHEAD = 16
"""Bytes of a PUBLISH beside topic and payload, at most: header, lengths, packet identifier, no properties."""

WINDOW = 20
"""Largest number of messages that were sent and not acknowledged."""

TICK = 1.0
"""Longest time in seconds between two checks of the keep-alive."""


class IncomingMessage(NamedTuple):
    """A message for this node. ``retained``: it was published before the subscription, at an unknown time."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class BrokerLimits:
    """What a broker of MQTT 5 announces (CONNACK, 3.2.2.3): packet size, QoS, retained and shared topics."""

    packet: float = math.inf
    qos: int = 1
    retain: bool = True
    shared: bool = True


UNLIMITED = BrokerLimits()


class Refusal(NamedTuple):
    """The reason in a PUBACK that refuses a message. ``final``: the same message would be refused again."""

    reason: str
    final: bool


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
        keep_session: bool = False,
    ) -> None:
        """``will`` is topic and payload of the last will, retained; None: no last will.

        Of a received packet at most ``max_packet`` bytes are read. ``limits`` are those of an earlier connection: they
        apply to the last will, because a broker refuses a client whose last will exceeds them. ``keep_session``: a
        broker of MQTT 3.1.1 resumes and keeps the session of this client id. Raises like ``new_client``.
        """
        self.limits = limits
        """Of this broker, from CONNACK on."""
        self.accepted: bool | None = None
        """The broker's answer to CONNECT; None until it has arrived."""
        self.refusal = ""
        """The reason in CONNACK if the broker did not accept."""
        self.credentials_refused = False
        """True if that reason is the user name, the password or missing rights."""
        self.version_refused = False
        """True if that reason is the version of MQTT."""
        self.ended: str | None = None
        """Why the connection has ended; None while it is open."""
        self.window = WINDOW
        """Messages that may be unacknowledged at once: the broker's ReceiveMaximum, at most 20."""
        self.settings = settings
        self._modern = settings.protocol == "5"
        self._acknowledged: list[tuple[int, Refusal | None]] = []
        self._messages: list[IncomingMessage] = []
        self._error: str | None = None
        self._client = client = new_client(settings, client_id, max_packet, keep_session=keep_session)
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
        limits = None
        if self._modern:
            limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            limits.MaximumPacketSize = MAX_PACKET
        self._open(timeout, properties=limits)

    def _open(self, timeout: float, **options: Any) -> None:
        """Raises OSError or UnicodeError."""
        self._client.connect_timeout = timeout
        host, port = self.settings.endpoints[0]
        try:
            self._client.connect(host, port, self.settings.keepalive, **options)
        except BaseException as error:
            for each in self._client.opening:
                each.close()
            if isinstance(error, (UnicodeDecodeError, LookupError)):  # an answer that is not HTTP
                raise WebsocketConnectionError(f"its answer is not that of a websocket: {error}") from error
            raise
        finally:
            self._client.opening.clear()

    def step(self, wakeup: Wakeup, timeout: float) -> None:
        """Wait up to ``timeout`` s for the network or the wakeup, then read, write and keep alive."""
        sock = self._client.socket()
        if sock is None:
            return
        network = sock.fileno()
        # Bytes that TLS has already decrypted do not make the socket readable again. Plain sockets have no ``pending``.
        decrypted = sock.pending() > 0 if hasattr(sock, "pending") else False
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

    def subscribe(self, filters: Sequence[str], *, qos: int = 1, retained: bool = False) -> None:
        """Subscribe with ``qos``; ``take_messages`` returns what is received.

        With MQTT 5 without those of this client id and, unless ``retained``, without retained messages.
        """
        if self._modern:
            handling = SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE if retained else SubscribeOptions.RETAIN_DO_NOT_SEND
            options = SubscribeOptions(qos=qos, noLocal=True, retainHandling=handling)
            self._client.subscribe([(each, options) for each in filters])
        else:
            self._client.subscribe([(each, qos) for each in filters])

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
        self.version_refused = answer.value == _UNSUPPORTED_VERSION
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
            self._error = re.sub(r"^(failed to receive on socket: )?(\[Errno [0-9]+\] )?", "", text)


def _limits(before: BrokerLimits, answer: ReasonCode, properties: Properties | None) -> BrokerLimits:
    """The limits that a CONNACK announces, or, if it refuses the last will, the limits for the next one."""
    if answer.is_failure:
        qos = 0 if answer.value == _QOS_NOT_SUPPORTED else before.qos
        return BrokerLimits(qos=qos, retain=before.retain and answer.value != _RETAIN_NOT_SUPPORTED)
    return BrokerLimits(
        packet=getattr(properties, "MaximumPacketSize", math.inf),
        qos=min(1, getattr(properties, "MaximumQoS", 1)),
        retain=bool(getattr(properties, "RetainAvailable", 1)),
        shared=bool(getattr(properties, "SharedSubscriptionAvailable", 1)),
    )

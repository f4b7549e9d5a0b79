"""paho-mqtt's client, configured from the settings, with a limit for what it reads into memory."""

from __future__ import annotations

from typing import Any, Literal

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import ConfigError
from edge_emotion.mqtt.tls import tls_context

MAX_PACKET = 16_384
"""Bytes of a packet that are read; also the MaximumPacketSize of MQTT 5. Commands for a node are much shorter."""

MAX_STRING = 65_535
"""Bytes of a string in MQTT (MQTT 5, 1.5.4)."""

_CHUNK = 65_536
"""Bytes that are discarded at a time."""

MAX_FRAME = 1 << 20
"""Bytes of a websocket frame at most; paho keeps a whole frame in memory. Brokers put one or a few packets into one."""


class BoundedClient(Client):
    """Reads at most ``max_packet`` bytes of a packet into memory; the rest is received and discarded.

    A message that was cut this way is still acknowledged and handed over: it is too long for its receiver, too. Another
    packet is malformed then, which ends the connection.
    """

    def __init__(
        self,
        max_packet: int,
        client_id: str,
        protocol: MQTTProtocolVersion,
        transport: Literal["tcp", "websockets"],
        *,
        clean_session: bool | None = None,
    ) -> None:
        """``clean_session`` is for MQTT 3.1.1 only, and None with MQTT 5."""
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean_session,
            protocol=protocol,
            transport=transport,
        )
        self.opening: list[Any] = []
        """Sockets of a connection that is being made; paho leaves them open if that fails."""
        self._max_packet = max_packet
        self._excess = 0

    def _create_socket_connection(self) -> Any:
        self.opening.append(super()._create_socket_connection())
        return self.opening[-1]

    def _ssl_wrap_socket(self, tcp_sock: Any) -> Any:
        self.opening.append(super()._ssl_wrap_socket(tcp_sock))
        return self.opening[-1]

    def _sock_recv(self, bufsize: int) -> bytes:
        while self._excess:
            discarded = len(self._receive(min(self._excess, _CHUNK)))
            if not discarded:
                return b""
            self._excess -= discarded
        packet = self._in_packet
        if not packet["have_remaining"]:
            return self._receive(bufsize)
        left = self._max_packet - len(packet["packet"])
        data = self._receive(min(bufsize, left))
        if len(data) == left and len(data) < packet["to_process"]:  # paho takes the packet for complete
            self._excess = packet["to_process"] - left
            packet["to_process"] = left
        return data

    def _receive(self, most: int) -> bytes:
        """Raises ValueError for a websocket frame that is too long, beside the errors of sockets."""
        try:
            return super()._sock_recv(most)
        finally:
            if len(getattr(self._sock, "_readbuffer", b"")) > MAX_FRAME:
                raise ValueError(f"a websocket frame above {MAX_FRAME} bytes")


def new_client(
    settings: MqttSettings, client_id: str, max_packet: int = MAX_PACKET, *, keep_session: bool = False
) -> BoundedClient:
    """A client with its protocol, credentials and TLS, not yet connected.

    ``keep_session`` applies to MQTT 3.1.1 only: the broker then keeps the session until a client without it comes.

    Raises ConfigError for an unreadable ``password_file`` or a string that MQTT cannot transmit, SinkError for unusable
    TLS files.
    """
    protocol = MQTTProtocolVersion.MQTTv5 if settings.protocol == "5" else MQTTProtocolVersion.MQTTv311
    _check_string("client_id", client_id)
    clean = not keep_session if protocol == MQTTProtocolVersion.MQTTv311 else None
    client = BoundedClient(max_packet, client_id, protocol, settings.transport, clean_session=clean)
    client.ws_set_options(path=settings.path)
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

"""A broker of MQTT 5 in a few lines, for answers that mosquitto cannot be made to give."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

Answer = Callable[[str, int], int | None]
"""Topic and number of a PUBLISH with QoS 1, counted from 0 -> the reason code of its PUBACK; None: no PUBACK."""

CONNACK = b"\x20\x03\x00\x00\x00"


class ScriptedBroker:
    """Serves one client after the other on a free loopback port; PUBACKs are those of ``answer``.

    ``extra`` is sent after each CONNACK.
    """

    def __init__(self, answer: Answer = lambda _topic, _number: 0, extra: bytes = b"") -> None:
        self.accepted: list[tuple[str, bytes]] = []
        """Topic and payload of the messages that were answered with success."""
        self.published = 0
        self.connections = 0
        self._answer, self._extra = answer, extra
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def on(self, ending: str) -> list[bytes]:
        """Payloads that were accepted on topics with this ending."""
        return [payload for topic, payload in list(self.accepted) if topic.endswith(ending)]

    def close(self) -> None:
        """Accept no further client."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                peer = self._server.accept()[0]
                self.connections += 1
                with peer, suppress(OSError, EOFError):
                    self._serve(peer)

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(60)
        while True:
            kind, body = _read_packet(peer)
            if kind >> 4 == 1:
                peer.sendall(CONNACK)
                peer.sendall(self._extra)
            elif kind >> 4 == 3:
                self._puback(peer, kind, body)
            elif kind >> 4 == 8:
                granted = b"\x01" * _count_filters(body)
                peer.sendall(bytes([0x90, 3 + len(granted)]) + body[:2] + b"\x00" + granted)
            elif kind >> 4 == 12:
                peer.sendall(b"\xd0\x00")
            elif kind >> 4 == 14:
                return

    def _puback(self, peer: socket.socket, kind: int, body: bytes) -> None:
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode()
        if not kind & 6:
            return
        reason = self._answer(topic, self.published)
        self.published += 1
        if reason == 0:
            self.accepted.append((topic, body[end + 3 :]))  # packet identifier, then no properties
        if reason is not None:
            peer.sendall(b"\x40\x04" + body[end : end + 2] + bytes([reason, 0]))


def _count_filters(body: bytes) -> int:
    """Number of filters of a SUBSCRIBE: after packet identifier and no properties, a string and a byte for each."""
    count, position = 0, 3
    while position < len(body):
        position += 3 + int.from_bytes(body[position : position + 2], "big")
        count += 1
    return count


def _read_packet(peer: socket.socket) -> tuple[int, bytes]:
    kind, length, shift = _read(peer, 1)[0], 0, 0
    while True:
        byte = _read(peer, 1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return kind, _read(peer, length)


def _read(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = peer.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data

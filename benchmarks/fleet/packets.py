"""The packets of MQTT 3.1.1 and 5 that a node sends and reads; OASIS Standard, chapter 3. No input, no output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

Level = Literal[4, 5]
"""Protocol level: 4 is MQTT 3.1.1, 5 is MQTT 5."""

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
"""Types of the packets that a node receives."""


def connect(level: Level, client_id: str, will_topic: str, will: bytes) -> bytes:
    """CONNECT of a clean session without keep-alive, with a retained will of QoS 1."""
    none = b"\0" if level == 5 else b""
    body = _text("MQTT") + bytes([level, 0b0010_1110, 0, 0]) + none
    return _packet(0x10, body + _text(client_id) + none + _text(will_topic) + _binary(will))


def publish(level: Level, topic: str, payload: bytes, number: int, *, retain: bool = False) -> bytes:
    """PUBLISH of QoS 1 with the packet identifier ``number``."""
    none = b"\0" if level == 5 else b""
    return _packet(0x32 | retain, _text(topic) + number.to_bytes(2, "big") + none + payload)


def subscribe(level: Level, filters: Sequence[str], number: int, qos: int) -> bytes:
    """SUBSCRIBE to all ``filters``."""
    none = b"\0" if level == 5 else b""
    return _packet(0x82, number.to_bytes(2, "big") + none + b"".join(_text(each) + bytes([qos]) for each in filters))


def payload_of(body: bytes) -> bytes:
    """The payload in the body of a PUBLISH of MQTT 5 with QoS 0 and less than 128 bytes of properties."""
    properties = 2 + int.from_bytes(body[:2], "big")
    return body[properties + 1 + body[properties] :]


DISCONNECT = b"\xe0\0"


class PacketReader:
    """Bytes as they come from the network -> packets."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Type and body of each packet that is complete now. Raises ValueError for a wrong length."""
        self._buffer += data
        while (found := _measure(self._buffer)) is not None:
            begin, end = found
            packet = self._buffer[0] >> 4, bytes(self._buffer[begin:end])
            del self._buffer[:end]
            yield packet


def _measure(buffer: bytearray) -> tuple[int, int] | None:
    """Where the body of the first packet begins and ends; None if it is not complete."""
    length = 0
    for index, byte in enumerate(buffer[1:5]):
        length |= (byte & 127) << (7 * index)
        if byte < 128:
            begin = index + 2
            return (begin, begin + length) if len(buffer) >= begin + length else None
    if len(buffer) >= 5:
        raise ValueError("the length of a packet has more than four bytes")
    return None


def _packet(head: int, body: bytes) -> bytes:
    length, left = bytearray(), len(body)
    while True:
        left, digit = divmod(left, 128)[0], left % 128
        length.append(digit | 128 if left else digit)
        if not left:
            return bytes([head]) + bytes(length) + body


def _binary(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _text(text: str) -> bytes:
    return _binary(text.encode())

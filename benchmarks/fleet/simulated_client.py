"""The connection of a simulated node: what those that make events and those that follow orders share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.fleet import packets
from edge_emotion.wire.payloads import OFFLINE
from edge_emotion.wire.topics import Topics


class SimulatedClient(asyncio.Protocol):
    """Connects with the last will of a daemon. ``numbers`` are the packet identifiers of all but events."""

    def __init__(self, topics: Topics, level: packets.Level, numbers: Iterator[int]) -> None:
        self.connected = asyncio.Event()
        self._name, self._topics = topics.node, topics
        self._level, self._numbers = level, numbers
        self._transport: asyncio.Transport | None = None

    def leave(self) -> None:
        """Disconnect; nothing is sent any more."""
        if self._transport is not None:
            self._transport.write(packets.DISCONNECT)
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._reader = transport, packets.PacketReader()
        will = self._topics.availability, OFFLINE
        transport.write(packets.connect(self._level, f"edge-emotion-{self._name}", *will))

    def publish(self, topic: str, payload: bytes) -> None:
        """A retained message."""
        self._write(packets.publish(self._level, topic, payload, next(self._numbers), retain=True))

    def _write(self, packet: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packet)

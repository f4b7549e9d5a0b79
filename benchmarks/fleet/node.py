"""A simulated node: the events of one camera, kept until the broker has acknowledged them."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import cycle
from typing import NamedTuple

from benchmarks.fleet import packets
from benchmarks.fleet.simulated_client import SimulatedClient
from edge_emotion.datatypes import Box, CameraState, EmotionEvent
from edge_emotion.labels import EMOTIONS
from edge_emotion.mqtt.local_broker import HOST
from edge_emotion.wire.payloads import ONLINE, as_replayed, event_to_json, state_to_json, to_json
from edge_emotion.wire.topics import COMMAND_QOS, Topics
from edge_emotion.wire.ulid import ulid

PREFIX, CAMERA = "fleet-proof", "door"
WINDOW = 20
"""Events that are sent before one of them is acknowledged; what mosquitto allows by default."""
ANSWER = 20.0
"""Seconds to wait for a connection and for CONNACK."""
LONGEST_DELAY = 4.0
"""Seconds, at most, until the next attempt to connect."""
_EVENT_NUMBERS, _ALL_NUMBERS = 60_000, 65_535
"""Packet identifiers from 1 on are of events; those of retained messages and of SUBSCRIBE lie above."""
VISIT = ("start", "change", "change", "end")
"""The types of the events of one track."""


class Made(NamedTuple):
    """The fields of an event by which a stored row is recognised."""

    id: str
    type: str
    emotion: str
    previous: str | None
    track: str


@dataclass
class Measured:
    """Figures of all nodes together: seconds from making an event to its PUBACK, and of times without a connection."""

    waits: array[float] = field(default_factory=lambda: array("d"))
    outages: array[float] = field(default_factory=lambda: array("d"))


class Node(SimulatedClient):
    """One node. ``run`` keeps it connected to one of the ports of HOST; ``make_event`` makes and sends an event."""

    def __init__(
        self, name: str, ports: Sequence[int], level: packets.Level, measured: Measured, commands: bool
    ) -> None:
        """It starts with the first port, and goes to the next one when a connection fails or is lost."""
        super().__init__(Topics(PREFIX, name), level, cycle(range(_EVENT_NUMBERS + 1, _ALL_NUMBERS + 1)))
        self.made: list[Made] = []
        """Event ``seq`` is ``made[seq - 1]``."""
        self._ports, self._measured = list(ports), measured
        self._waiting: dict[int, tuple[bytes, float]] = {}
        self._unsent: deque[int] = deque()
        self._flying: dict[int, int] = {}
        self._ended = asyncio.Event()
        self._lost_at: float | None = None
        self._commands = commands
        self._track, self._started, self._emotion = "", datetime.now(timezone.utc), EMOTIONS[0]

    @property
    def unacknowledged(self) -> frozenset[int]:
        """The numbers of the events that the broker has not acknowledged."""
        return frozenset(self._waiting)

    async def run(self, gate: asyncio.Semaphore) -> None:
        """Connect, and again after each loss, until cancelled; ``gate`` limits the attempts at once."""
        delay = 0.25
        while True:
            async with gate:
                accepted = await self._connect()
            if accepted:
                delay = 0.25
                await self._ended.wait()
            self._ports.append(self._ports.pop(0))
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(2 * delay, LONGEST_DELAY)

    def make_event(self) -> None:
        """Make the next event, and send it if the connection and its window allow."""
        now, seq = datetime.now(timezone.utc), len(self.made) + 1
        event = self._next_event(now, seq)
        self.made.append(Made(event.id, event.type, event.emotion, event.previous, event.track_id))
        self._waiting[seq] = (event_to_json(event), time.monotonic())
        self._unsent.append(seq)
        if self.connected.is_set():
            self._send_events()
            self.publish(self._topics.camera(CAMERA, "state"), _state(event))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        for kind, body in self._reader.feed(data):
            if kind == packets.PUBACK:
                self._on_puback(int.from_bytes(body[:2], "big"), refused=len(body) > 2 and body[2] >= 128)
            elif kind == packets.CONNACK and body[1] == 0:
                self._on_connack()
            elif kind == packets.CONNACK and self._transport is not None:
                self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol. What is not acknowledged will be sent again, as the daemon does."""
        if self.connected.is_set():
            self.connected.clear()
            self._lost_at = time.monotonic()
        self._transport = None
        self._flying.clear()
        self._unsent = deque(self._waiting)
        for seq, (payload, at) in self._waiting.items():
            self._waiting[seq] = as_replayed(payload), at
        self._ended.set()

    async def _connect(self) -> bool:
        """True if the broker has accepted the connection."""
        self._ended = asyncio.Event()
        try:
            await asyncio.wait_for(
                asyncio.get_running_loop().create_connection(lambda: self, HOST, self._ports[0]), ANSWER
            )
        except (OSError, asyncio.TimeoutError):
            return False
        waits = [asyncio.ensure_future(one.wait()) for one in (self.connected, self._ended)]
        try:
            await asyncio.wait(waits, timeout=ANSWER, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if not self.connected.is_set() and self._transport is not None:
            self._transport.abort()
            await self._ended.wait()
        return self.connected.is_set()

    def _on_connack(self) -> None:
        if self._lost_at is not None:
            self._measured.outages.append(time.monotonic() - self._lost_at)
        self.connected.set()
        if self._commands:
            filters, number = self._topics.command_filters, next(self._numbers)
            self._write(packets.subscribe(self._level, filters, number, COMMAND_QOS))
        self.publish(self._topics.availability, ONLINE)
        self.publish(self._topics.camera(CAMERA, "availability"), ONLINE)
        self.publish(self._topics.info, to_json({"schema": 1, "cameras": {CAMERA: {"source": "simulated"}}}))
        self._send_events()

    def _on_puback(self, number: int, refused: bool) -> None:
        seq = self._flying.pop(number, None)
        if seq is not None and refused and self._transport is not None:
            self._transport.abort()
        elif seq is not None:
            _, at = self._waiting.pop(seq)
            self._measured.waits.append(time.monotonic() - at)
            self._send_events()

    def _send_events(self) -> None:
        topic = self._topics.camera(CAMERA, "events")
        while self._unsent and len(self._flying) < WINDOW:
            seq = self._unsent.popleft()
            number = seq % _EVENT_NUMBERS + 1
            self._flying[number] = seq
            self._write(packets.publish(self._level, topic, self._waiting[seq][0], number))

    def _next_event(self, now: datetime, seq: int) -> EmotionEvent:
        """Tracks follow each other, of four events each."""
        kind = VISIT[(seq - 1) % len(VISIT)]
        previous = self._emotion if kind == "change" else None
        if kind == "start":
            self._track, self._started = ulid(now), now
        if kind != "end":
            self._emotion = random.choice([name for name in EMOTIONS if name != previous])
        return EmotionEvent(
            type=kind,  # type: ignore[arg-type]
            id=ulid(now),
            seq=seq,
            node=self._name,
            camera=CAMERA,
            ts=now,
            emotion=self._emotion,
            confidence=0.86,
            probabilities={name: 0.86 if name == self._emotion else 0.02 for name in EMOTIONS},
            previous=previous,
            track_id=self._track,
            track_started=self._started,
            track_duration=(now - self._started).total_seconds(),
            box=Box(0.25, 0.25, 0.25, 0.25),
            quality=0.75,
            latency_ms=12.3,
            model_name="mobilenet_v2",
            model_version="2.1.1",
        )


def _state(event: EmotionEvent) -> bytes:
    faces = 0 if event.type == "end" else 1
    emotion, confidence = (event.emotion, event.confidence) if faces else (None, None)
    probabilities = event.probabilities if faces else {}
    return state_to_json(
        CameraState(event.ts, faces, emotion, confidence, probabilities, {event.emotion: 1} if faces else {})
    )

"""All nodes of a run in one event loop: connecting, events at an even rate, and the last acknowledgements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from benchmarks.fleet.node import Measured, Node
from benchmarks.fleet.packets import Level
from edge_emotion.errors import SinkError

ATTEMPTS = 200
"""Connections that are being made at once."""
PATIENCE = 120.0
"""Seconds without any progress after which connecting, or waiting for acknowledgements, ends."""
TICK = 0.01


class Simulator:
    """Nodes ``n00000`` and so on, an equal share of them on each port first."""

    def __init__(self, nodes: int, ports: Sequence[int], level: Level, *, commands: bool = True) -> None:
        """``commands``: the nodes subscribe to their commands."""
        self.measured, counts = Measured(), range(nodes)
        self.nodes = [
            Node(f"n{each:05}", _from(ports, each % len(ports)), level, self.measured, commands) for each in counts
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._made = 0

    async def connect(self) -> float:
        """Connect all nodes; returns the seconds that it took. Raises SinkError if it does not go on."""
        begin, gate = time.monotonic(), asyncio.Semaphore(ATTEMPTS)
        self._tasks = [asyncio.create_task(node.run(gate)) for node in self.nodes]
        await self._until_none(self._unconnected, "nodes are not accepted by the broker")
        return time.monotonic() - begin

    async def send(self, rate: float, enough: Callable[[float], bool]) -> float:
        """Make ``rate`` events a second, each node in turn, until ``enough(seconds)``; returns the seconds."""
        begin, earlier = time.monotonic(), self._made
        while not enough(elapsed := time.monotonic() - begin):
            for _ in range(self._made, earlier + int(elapsed * rate)):
                self.nodes[self._made % len(self.nodes)].make_event()
                self._made += 1
            await asyncio.sleep(TICK)
        return elapsed

    async def drain(self) -> None:
        """Wait until every event is acknowledged. Raises SinkError if it does not go on."""
        await self._until_none(self._unacknowledged, "events are not acknowledged by the broker")

    async def leave(self) -> None:
        """Disconnect all nodes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for node in self.nodes:
            node.leave()
        await asyncio.sleep(0)

    async def _until_none(self, left: Callable[[], int], what: str) -> None:
        least, since = left(), time.monotonic()
        while now_left := left():
            if now_left < least:
                least, since = now_left, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                raise SinkError(f"{now_left} {what}, and none was for {PATIENCE:g} s: fewer --nodes, or a lower --rate")
            await asyncio.sleep(0.05)

    def _unconnected(self) -> int:
        return sum(not node.connected.is_set() for node in self.nodes)

    def _unacknowledged(self) -> int:
        return sum(len(node.unacknowledged) for node in self.nodes)


def _from(ports: Sequence[int], first: int) -> list[int]:
    return [*ports[first:], *ports[:first]]

"""A simulated node that follows orders of models: verified by the program's own code, without a model."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from itertools import cycle

from benchmarks.fleet import packets
from benchmarks.fleet.node import PREFIX
from benchmarks.fleet.simulated_client import SimulatedClient
from edge_emotion.errors import ReleaseRefused
from edge_emotion.mqtt.local_broker import HOST
from edge_emotion.updates.minisign import PublicKey
from edge_emotion.updates.signed_order import read_order
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.payloads import ONLINE, to_json
from edge_emotion.wire.topics import COMMAND_QOS, Topics, order_topic
from edge_emotion.wire.update_report import UpdateReport, UpdateState, report_to_object

GROUP = "proof"
BEGIN, WATCH = 1.0, 1.0
"""Seconds until a chosen node has the release, at random up to that, and for which it watches it."""

Fails = Callable[[str, str], bool]
"""Name of the node and SHA-256 of a release -> whether the release fails on this node."""


class ModelNode(SimulatedClient):
    """Connects once; ``serials``: the release in use is the last one; none is the model of the settings."""

    def __init__(self, name: str, trusted: Sequence[PublicKey], fails: Fails, refusals: Counter[str]) -> None:
        super().__init__(Topics(PREFIX, name), 5, cycle(range(1, 65_536)))
        self.report = UpdateReport(group=GROUP, since=_now())
        self.payload = b""
        """The last order that came, accepted or not."""
        self.serials: list[int] = []
        self.touched: set[str] = set()
        """SHA-256 of the releases that it has used."""
        self._trusted, self._fails, self._refusals = trusted, fails, refusals
        self._highest = 0

    async def connect(self, port: int) -> None:
        """Connect, subscribe and publish. Raises OSError, TimeoutError."""
        await asyncio.get_running_loop().create_connection(lambda: self, HOST, port)
        await asyncio.wait_for(self.connected.wait(), 60)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        for kind, body in self._reader.feed(data):
            if kind == packets.CONNACK and body[1] == 0:
                self._write(packets.subscribe(5, [order_topic(PREFIX, GROUP)], next(self._numbers), COMMAND_QOS))
                self.publish(self._topics.availability, ONLINE)
                self._tell()
            elif kind == packets.SUBACK:
                self.connected.set()
            elif kind == packets.PUBLISH:
                self._take(packets.payload_of(body))

    def _take(self, payload: bytes) -> None:
        """As the daemon does: only a newer order with a trusted signature is accepted."""
        self.payload = payload
        if not payload:
            return
        try:
            order = read_order(payload, self._trusted, GROUP)
        except ReleaseRefused:
            self._refusals["signature"] += 1
            return
        if order.serial <= self._highest or order.expires <= _now():
            self._refusals["old"] += 1
            return
        self._highest = order.serial
        self._follow(order)

    def _follow(self, order: ModelOrder) -> None:
        sha256, about = order.release.sha256, self.report.release
        same = about is not None and about.sha256 == sha256
        if order.action == "abort" and same and self.report.state in ("switched", "confirmed"):
            self._go_back(order, f"order {order.serial} is to abort it")
        elif same and self.report.state in ("switched", "confirmed", "returned"):
            self._set(order, self.report.state, self.report.reason)
        elif order.action != "install" or not order.is_for(self._name):
            self._set(order, "waiting", f"not among the {order.percent:g} % of nodes, or not now")
        else:
            self._set(order, "fetching")
            asyncio.get_running_loop().call_later(random.uniform(0, BEGIN), self._switch, order)

    def _switch(self, order: ModelOrder) -> None:
        if self.report.order != order.serial or self.report.state != "fetching":
            return
        self.touched.add(order.release.sha256)
        self.serials.append(order.release.serial)
        self._set(order, "switched")
        asyncio.get_running_loop().call_later(WATCH, self._judge, order)

    def _judge(self, order: ModelOrder) -> None:
        if self.report.state != "switched" or self.report.release != order.release:
            return
        if self._fails(self._name, order.release.sha256):
            self._go_back(order, "simulated: no frame is processed")
        else:
            self._set(order, "confirmed")

    def _go_back(self, order: ModelOrder, reason: str) -> None:
        self.serials.remove(order.release.serial)
        self._set(order, "returned", reason)

    def _set(self, order: ModelOrder, state: UpdateState, reason: str = "") -> None:
        self.report = UpdateReport(
            group=GROUP,
            order=max(order.serial, self._highest),
            release=order.release,
            state=state,
            reason=reason,
            since=_now(),
            installed=self.serials[-1] if self.serials else None,
        )
        self._tell()

    def _tell(self) -> None:
        info = {"schema": 1, "node": self._name, "model": {"name": "tiny", "precision": "int8"}, "cameras": ["door"]}
        self.publish(self._topics.info, to_json({**info, "model_update": report_to_object(self.report)}))


def _now() -> datetime:
    return datetime.now(timezone.utc)

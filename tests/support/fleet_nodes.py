"""Nodes that follow orders of models by the contract, without models: one client of the broker for all of them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_emotion.errors import ReleaseRefused
from edge_emotion.updates.minisign import PublicKey
from edge_emotion.updates.signed_order import read_order
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.payloads import OFFLINE, ONLINE
from edge_emotion.wire.topics import Topics, order_topic
from edge_emotion.wire.update_report import UpdateReport, UpdateState, report_to_object

Behave = Callable[[str, ModelOrder], tuple[UpdateState, str] | None]
"""Node and order -> the state that it reports and why; None: nothing is reported."""


def confirm(_node: str, _order: ModelOrder) -> tuple[UpdateState, str]:
    """Every node takes the release."""
    return "confirmed", ""


class FleetNodes:
    """A context; ``orders`` are the orders that the nodes accepted."""

    def __init__(
        self,
        port: int,
        names: Sequence[str],
        trusted: Sequence[PublicKey],
        *,
        prefix: str,
        group: str = "cafes",
        behave: Behave = confirm,
        offline: Sequence[str] = (),
        installed: int | None = None,
        precision: str = "int8",
    ) -> None:
        self.orders: list[ModelOrder] = []
        self.refused: list[str] = []
        self.behave = behave
        self._precision = precision
        self._names, self._trusted, self._prefix, self._group = names, trusted, prefix, group
        self._offline, self._installed, self._ready = set(offline), dict.fromkeys(names, installed), threading.Event()
        self._states: dict[str, UpdateReport] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.on_message = lambda _client, _data, message: self._on_order(message.payload)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> FleetNodes:
        self._client.loop_start()
        for name in self._names:
            self._report(name, UpdateReport(group=self._group, since=_now(), installed=self._installed[name]))
            online = OFFLINE if name in self._offline else ONLINE
            self._client.publish(Topics(self._prefix, name).availability, online, qos=1, retain=True)
        self._client.subscribe(order_topic(self._prefix, self._group), 1)
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, wait: bool = True) -> None:
        """Any retained message; ``wait`` until the broker has it, unless ``behave`` publishes it."""
        sent = self._client.publish(topic, payload, qos=1, retain=True)
        if wait:
            sent.wait_for_publish(10)

    def _on_order(self, payload: bytes) -> None:
        if not payload:
            return
        try:
            order = read_order(payload, self._trusted, self._group)
        except ReleaseRefused as error:
            self.refused.append(str(error))
            return
        self.orders.append(order)
        for name in self._names:
            if name not in self._offline:
                self._follow(name, order)

    def _follow(self, name: str, order: ModelOrder) -> None:
        before = self._states[name]
        same = before.release is not None and before.release.sha256 == order.release.sha256
        state: UpdateState
        if order.action == "abort" and same and before.state in ("switched", "confirmed"):
            state, reason = "returned", "aborted"
        elif same and before.state in ("confirmed", "returned", "switched"):
            state, reason = before.state, before.reason
        elif order.action != "install" or not order.is_for(name):
            state, reason = "waiting", ""
        elif (answer := self.behave(name, order)) is not None:
            state, reason = answer
        else:
            return
        uses = state in ("switched", "confirmed")
        report = UpdateReport(
            group=self._group, order=order.serial, release=order.release, state=state, reason=reason, since=_now(),
            installed=order.release.serial if uses else None,
        )  # fmt: skip
        self._report(name, report)

    def _report(self, name: str, report: UpdateReport) -> None:
        self._states[name] = report
        info: dict[str, Any] = {"schema": 1, "node": name, "model": {"name": "tiny", "precision": self._precision}}
        info["model_update"] = report_to_object(report)
        self._client.publish(Topics(self._prefix, name).info, json.dumps(info), qos=1, retain=True)


def _now() -> datetime:
    return datetime.now(timezone.utc)

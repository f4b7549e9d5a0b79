"""The nodes and orders of a fleet, from retained messages. No input, no output."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from edge_emotion.errors import ConfigError
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.payloads import ONLINE, check_depth
from edge_emotion.wire.topics import NAME_PATTERN, order_topic
from edge_emotion.wire.update_report import FAILED, FINAL, UpdateReport, report_of

Stage = Literal["confirmed", "failed", "begun", "silent", "away"]
"""Of a node in a roll-out. ``begun``: it has taken the order and is not finished; ``silent``: it is online and has not
taken it; ``away``: the same, and it is not online."""


@dataclass
class FleetNode:
    """One node. ``precision`` is that of its model, ``report`` its part in orders; None: unknown, it has none."""

    name: str
    online: bool = False
    precision: str | None = None
    report: UpdateReport | None = None

    def stage(self, order: ModelOrder) -> Stage:
        """How far it is with the release of ``order``."""
        report = self._about(order)
        if report is None or report.state == "waiting" or self._will_try_again(report, order):
            return "silent" if self.online else "away"
        if report.state in FINAL:
            return "failed" if report.state in FAILED else "confirmed"
        return "begun"

    def uses(self, order: ModelOrder) -> bool:
        """Whether it uses the release of ``order`` now, or is about to."""
        report = self._about(order)
        return report is not None and report.state not in ("waiting", *FAILED)

    def touched(self, order: ModelOrder) -> bool:
        """Whether it uses the release of ``order`` or has used it."""
        report = self._about(order)
        return report is not None and report.state in ("switched", "confirmed", "returned")

    def _about(self, order: ModelOrder) -> UpdateReport | None:
        """Its report, if that is about the release of ``order``."""
        report = self.report
        same = report is not None and report.release is not None and report.release.sha256 == order.release.sha256
        return report if same else None

    def _will_try_again(self, report: UpdateReport, order: ModelOrder) -> bool:
        """A release that was refused is tried again by a newer order."""
        return report.state == "refused" and (report.order or 0) < order.serial


@dataclass
class FleetView:
    """Everything that was received below ``prefix``."""

    prefix: str
    nodes: dict[str, FleetNode] = field(default_factory=dict)
    orders: dict[str, bytes] = field(default_factory=dict)
    """Group -> payload of its order; nobody has verified it."""
    malformed: dict[str, str] = field(default_factory=dict)
    """Node -> why its ``info`` cannot be read."""

    @property
    def filters(self) -> list[str]:
        """Topic filters to subscribe to."""
        return [f"{self.prefix}/+/availability", f"{self.prefix}/+/info", order_topic(self.prefix, "+")]

    def take(self, topic: str, payload: bytes) -> None:
        """Take one message of these topics; others are ignored."""
        parts = topic.removeprefix(f"{self.prefix}/").split("/")
        if not topic.startswith(f"{self.prefix}/") or not all(re.fullmatch(NAME_PATTERN, part) for part in parts):
            return
        if len(parts) == 3 and topic == order_topic(self.prefix, parts[1]):
            self._take_order(parts[1], payload)
        elif len(parts) == 2 and parts[1] == "availability":
            self._node(parts[0]).online = payload == ONLINE
        elif len(parts) == 2 and parts[1] == "info":
            self._take_info(parts[0], payload)

    def group(self, group: str) -> list[FleetNode]:
        """Its nodes, by name. Raises ConfigError if there are none."""
        found = [node for node in self.nodes.values() if node.report is not None and node.report.group == group]
        if not found:
            others = ", ".join(sorted(self.groups)) or "none: no node has update.group in its settings"
            raise ConfigError(f"no node is in group {group}; groups under {self.prefix}: {others}")
        return sorted(found, key=lambda node: node.name)

    @property
    def groups(self) -> Counter[str]:
        """Group -> number of its nodes."""
        return Counter(node.report.group for node in self.nodes.values() if node.report is not None)

    def _node(self, name: str) -> FleetNode:
        return self.nodes.setdefault(name, FleetNode(name))

    def _take_order(self, group: str, payload: bytes) -> None:
        if payload:
            self.orders[group] = payload
        else:
            self.orders.pop(group, None)

    def _take_info(self, name: str, payload: bytes) -> None:
        node = self._node(name)
        try:
            check_depth(payload)
            info = json.loads(payload) if payload else {}
            if not isinstance(info, dict):
                raise ValueError("it is no JSON object")
            node.report = report_of(info)
            node.precision = _precision(info)
        except (ValueError, TypeError, AttributeError) as error:
            self.malformed[name] = str(error)


def _precision(info: dict[str, Any]) -> str | None:
    model = info.get("model")
    found = model.get("precision") if isinstance(model, dict) else None
    return found if isinstance(found, str) else None


@dataclass(frozen=True)
class Tally:
    """Nodes by stage; ``nodes`` of them together."""

    nodes: int
    confirmed: int
    failed: int
    begun: int
    silent: int
    away: int

    @property
    def text(self) -> str:
        """For people."""
        parts = [f"{self.confirmed} of {self.nodes} nodes confirmed", f"{self.failed} failed"]
        parts += [f"{self.begun} under way"] if self.begun else []
        parts += [f"{self.silent} without an answer"] if self.silent else []
        return ", ".join([*parts, f"{self.away} away"])


def tally(nodes: Iterable[FleetNode], order: ModelOrder) -> Tally:
    """The stages of ``nodes``."""
    stages = Counter(node.stage(order) for node in nodes)
    counts = (stages[name] for name in ("confirmed", "failed", "begun", "silent", "away"))
    return Tally(stages.total(), *counts)

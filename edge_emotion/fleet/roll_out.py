"""A roll-out: one order after the other, each for more nodes, as long as few enough of them fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from textwrap import shorten
from typing import Literal

from edge_emotion.errors import ConfigError, ReleaseRefused, RollOutStopped
from edge_emotion.fleet.broker import FleetBroker
from edge_emotion.fleet.orders import GroupOrders
from edge_emotion.fleet.view import FleetNode, Tally, tally
from edge_emotion.wire.model_order import ModelOrder, OrderedRelease, place_of

WAVES = (1.0, 10.0, 50.0, 100.0)
LOOK = 0.5
"""Seconds between two looks at what has been reported."""

NAMED, LONGEST = 3, 160
"""Nodes whose reasons are given, and characters of each."""


@dataclass(frozen=True)
class Plan:
    """``waves`` and ``max_failed`` in percent, ``timeout`` in seconds for each wave."""

    release: OrderedRelease
    source: str
    expires: datetime
    waves: Sequence[float] = WAVES
    max_failed: float = 5.0
    timeout: float = 1800.0
    on_failure: Literal["abort", "pause"] = "abort"


class RollOut:
    """The state is the retained order alone: another run continues where an earlier one was ended."""

    def __init__(
        self,
        broker: FleetBroker,
        orders: GroupOrders,
        plan: Plan,
        show: Callable[[str], None],
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``show`` takes a line for each wave, ``progress`` how far the current one is, often."""
        self._broker, self._orders, self._plan = broker, orders, plan
        self._show, self._progress = show, progress

    def run(self) -> Tally:
        """All waves that are left; returns the nodes of the last one and of those before it.

        Raises RollOutStopped if too many nodes fail or none answers, ReleaseRefused, ConfigError and SinkError.
        """
        order, reached = self._earlier(), 0.0
        if order is not None:
            self._show(f"{order.release.title} was ordered before: going on at {order.percent:g} %")
            self._wait(order, 0.0)
            reached = order.percent
        for wave in (wave for wave in self._plan.waves if wave > reached):
            nodes = self._broker.view.group(self._orders.group)
            if wave < self._plan.waves[-1] and not self._between(nodes, reached, wave):
                self._show(f"wave {wave:g} %: no further node")
                continue
            order = self._give(wave)
            self._wait(order, reached)
            reached = wave
        assert order is not None  # there is at least one wave
        return tally(self._chosen(order), order)

    def _earlier(self) -> ModelOrder | None:
        """The order by which an earlier run has ended, in force again; None if this release was not ordered yet."""
        order = self._orders.current()
        if order is None or order.release.sha256 != self._plan.release.sha256:
            self._require_newer(order)
            return None
        if order.action == "abort":
            raise ConfigError(
                f"{order.release.title} was aborted by order {order.serial}, and nodes that went back do not try it "
                "again: make a release with a higher --serial"
            )
        if order.action == "pause" or order.expires <= datetime.now(timezone.utc) or order.source != self._plan.source:
            return self._give(order.percent)
        self._orders.keep()
        return order

    def _require_newer(self, order: ModelOrder | None) -> None:
        release = self._plan.release
        if order is not None and order.release.name == release.name and order.release.serial >= release.serial:
            raise ReleaseRefused(
                f"{release.title} is not newer than {order.release.title}, which was ordered for group {order.group}: "
                "make a release with a higher --serial"
            )

    def _give(self, percent: float) -> ModelOrder:
        plan = self._plan
        return self._orders.give("install", plan.release, source=plan.source, percent=percent, expires=plan.expires)

    def _wait(self, order: ModelOrder, reached: float) -> None:
        """Until the nodes of the wave from ``reached`` on are finished or away, or the time is over.

        Raises RollOutStopped, after the order was changed, if too many of them or of all before have failed.
        """
        begin, wave = time.monotonic(), f"wave {order.percent:g} %"
        while True:
            serve(self._broker, self._orders)
            late = time.monotonic() - begin > self._plan.timeout
            new = self._between(self._broker.view.group(order.group), reached, order.percent)
            found = tally(new, order)
            self._progress(f"{wave}: {found.text}")
            for nodes in (new, self._chosen(order)):
                if self._too_many(tally(nodes, order), late):
                    self._stop(order, _blamed(order, nodes, late), f"{wave}: {found.text}")
            if late or not (found.begun or found.silent or found.away == found.nodes > 0):
                break
        if found.away == found.nodes > 0:
            raise RollOutStopped(
                f"{wave}: none of {found.nodes} nodes was there for {self._plan.timeout:g} s; the order stays: run "
                "the same again when they are back"
            )
        self._show(f"{wave}: {found.text}, after {time.monotonic() - begin:.0f} s")

    def _chosen(self, order: ModelOrder) -> list[FleetNode]:
        return [node for node in self._broker.view.group(order.group) if order.is_for(node.name)]

    def _between(self, nodes: Iterable[FleetNode], first: float, last: float) -> list[FleetNode]:
        return [node for node in nodes if first <= place_of(node.name, self._plan.release.sha256) < last]

    def _too_many(self, found: Tally, late: bool) -> bool:
        """A node that is there and not finished when the time is over has failed, too."""
        failed = found.failed + (found.begun + found.silent if late else 0)
        return failed > self._plan.max_failed / 100 * found.nodes

    def _stop(self, order: ModelOrder, blamed: Sequence[FleetNode], text: str) -> None:
        """Raises RollOutStopped, after the nodes have gone back if that is wanted."""
        self._show(f"{text}: more than {self._plan.max_failed:g} % have failed{_reasons(blamed)}")
        changed = self._orders.change(order, self._plan.on_failure)
        if changed.action == "pause":
            raise RollOutStopped(f"order {changed.serial} pauses the roll-out: fleet abort, or the same again, goes on")
        await_return(self._broker, self._orders, order, self._plan.timeout, self._progress)
        touched = [node for node in self._chosen(order) if node.touched(order)]
        raise RollOutStopped(
            f"order {changed.serial} aborts the roll-out: {sum(not node.uses(order) for node in touched)} of "
            f"{len(touched)} nodes that have used {order.release.title} have gone back"
        )


def _blamed(order: ModelOrder, nodes: Iterable[FleetNode], late: bool) -> list[FleetNode]:
    """The nodes that have failed, and those that are not finished if it is ``late``."""
    stages = ("failed", "begun", "silent") if late else ("failed",)
    return sorted(
        (node for node in nodes if node.stage(order) in stages), key=lambda node: node.stage(order) != "failed"
    )


def _reasons(nodes: Sequence[FleetNode]) -> str:
    """What the first of them have reported."""
    reports = [(node.name, node.report) for node in nodes[:NAMED]]
    return "".join(
        f"; {name}: {shorten(report.reason, LONGEST)}" for name, report in reports if report and report.reason
    )


def await_return(
    broker: FleetBroker, orders: GroupOrders, order: ModelOrder, timeout: float, progress: Callable[[str], None]
) -> int:
    """Wait until no node that is there uses the release of an aborted order; returns how many nodes still do.

    Raises RollOutStopped like ``serve``.
    """
    until = time.monotonic() + timeout
    while True:
        serve(broker, orders)
        using = [node for node in broker.view.group(order.group) if node.uses(order)]
        progress(f"{len(using)} nodes have not gone back yet")
        if time.monotonic() > until or not any(node.online for node in using):
            return len(using)


def serve(broker: FleetBroker, orders: GroupOrders) -> None:
    """Receive for a moment. Raises RollOutStopped if the order is not that of this program any more."""
    broker.serve(LOOK)
    if orders.replaced:
        raise RollOutStopped(
            f"the order of group {orders.group} was replaced or removed by somebody else: see edge-emotion fleet status"
        )

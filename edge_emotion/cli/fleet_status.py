"""The text and JSON of ``edge-emotion fleet status``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from edge_emotion.fleet.view import FleetNode, FleetView
from edge_emotion.wire.model_order import ModelOrder, order_from_json, split_order
from edge_emotion.wire.update_report import FAILED, report_to_object

_ROW = "  {:10} {:>7} {:>8}  {}"
MOST_NAMED = 10
"""Nodes whose reasons are printed."""


def status_lines(view: FleetView, group: str) -> Iterator[str]:
    """For people."""
    nodes = view.group(group)
    yield f"group {group}: {len(nodes)} nodes, {sum(node.online for node in nodes)} online; {_order_text(view, group)}"
    yield _ROW.format("state", "nodes", "online", "release in use")
    rows = Counter((_state(node), _installed(node)) for node in nodes)
    online = Counter((_state(node), _installed(node)) for node in nodes if node.online)
    for (state, installed), count in sorted(rows.items()):
        yield _ROW.format(state, count, online[state, installed], installed)
    failed = [node for node in nodes if node.report is not None and node.report.reason and _state(node) in FAILED]
    for node in failed[:MOST_NAMED]:
        yield f"  {node.name}: {_state(node)}: {node.report.reason if node.report else ''}"
    if len(failed) > MOST_NAMED:
        yield f"  and {len(failed) - MOST_NAMED} more; --json has all"
    expired = sum(node.report is not None and node.report.expired for node in nodes)
    if expired:
        yield f"  {expired} nodes have had no newer order since theirs has expired"


def json_line(view: FleetView, group: str) -> Iterable[str]:
    """One object in one line, for scripts."""
    order, fault = _order(view, group)
    nodes: dict[str, Any] = {
        node.name: {"online": node.online, **(report_to_object(node.report) if node.report else {})}
        for node in view.group(group)
    }
    ordered = None if order is None else order.model_dump(mode="json", by_alias=True)
    yield json.dumps({"group": group, "order": ordered, "order_fault": fault, "nodes": nodes})


def _order(view: FleetView, group: str) -> tuple[ModelOrder | None, str | None]:
    """The order, whose signature is not verified here, or why it cannot be read."""
    if group not in view.orders:
        return None, None
    try:
        return order_from_json(split_order(view.orders[group])[0]), None
    except ValueError as error:
        return None, str(error)


def _order_text(view: FleetView, group: str) -> str:
    order, fault = _order(view, group)
    if order is None:
        return "no order" if fault is None else f"an order that cannot be read: {fault}"
    return (
        f"order {order.serial} (signature not verified): {order.action} {order.release.title}, {order.percent:g} %, "
        f"until {order.expires:%Y-%m-%d %H:%M} UTC"
    )


def _state(node: FleetNode) -> str:
    return "" if node.report is None else node.report.state


def _installed(node: FleetNode) -> str:
    serial = None if node.report is None else node.report.installed
    return "model of the settings" if serial is None else f"serial {serial}"

"""The order of a release for a group: its wire form, who is chosen, and what a node reports."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest

from edge_emotion.wire.model_order import (
    MAX_ORDER,
    ModelOrder,
    OrderedRelease,
    join_order,
    order_from_json,
    order_to_json,
    split_order,
)
from edge_emotion.wire.topics import order_topic
from edge_emotion.wire.update_report import UpdateReport, report_of, report_to_object

NOW = datetime(2026, 11, 20, 4, 31, 7, tzinfo=timezone.utc)
RELEASE = OrderedRelease(name="tiny", version="1.1.0", serial=7, sha256="ab" * 32)
ORDER = ModelOrder(
    group="cafes",
    serial=17,
    action="install",
    release=RELEASE,
    source="https://releases.example/tiny-7",
    percent=10,
    expires=NOW + timedelta(days=7),
)


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(order_to_json(ORDER)), **changes}).encode()


def test_an_order_is_one_line_and_comes_back() -> None:
    line = order_to_json(ORDER)
    assert b"\n" not in line
    assert order_from_json(line) == ORDER
    assert split_order(join_order(line, b"four\nlines\n")) == (line, b"four\nlines\n")
    assert order_topic("home/emotions", "cafes") == "home/emotions/fleet/cafes/model"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema": 2}, "schema"),
        ({"serial": 0}, "serial"),
        ({"serial": "17"}, "serial"),
        ({"serial": 2**53}, "serial"),
        ({"group": "a/b"}, "group"),
        ({"action": "remove"}, "action"),
        ({"percent": 100.5}, "percent"),
        ({"percent": float("nan")}, "percent"),
        ({"percent": True}, "percent"),
        ({"expires": "2026-11-20T04:31:07"}, "expires"),
        ({"source": "ftp://releases.example/tiny"}, "source"),
        ({"source": "releases/tiny"}, "source"),
        ({"source": "https://releases.example/ti ny"}, "source"),
        ({"release": {**RELEASE.model_dump(), "name": "../tiny"}}, "release.name"),
        ({"release": {**RELEASE.model_dump(), "sha256": "ab"}}, "release.sha256"),
        ({"downgrade": True}, "downgrade"),
    ],
)
def test_a_malformed_order_is_refused_with_its_field_in_one_line(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: .+$"):
        order_from_json(changed(**changes))


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b"[" * 2000])
def test_what_is_no_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        order_from_json(line)


def test_a_payload_is_bounded_and_has_a_signature() -> None:
    with pytest.raises(ValueError, match="are the most"):
        split_order(b"{}\n" + b" " * MAX_ORDER)
    with pytest.raises(ValueError, match="no signature"):
        split_order(order_to_json(ORDER))


def test_more_percent_only_add_nodes_and_another_release_begins_with_others() -> None:
    nodes = [f"node-{number}" for number in range(3000)]

    def chosen(percent: float, sha256: str) -> set[str]:
        release = RELEASE.model_copy(update={"sha256": sha256})
        order = ORDER.model_copy(update={"percent": percent, "release": release})
        return {node for node in nodes if order.is_for(node)}

    waves = [chosen(percent, "ab" * 32) for percent in (0, 0.5, 1, 10, 50, 100)]
    assert all(smaller < larger for smaller, larger in pairwise(waves))
    assert waves[0] == set()
    assert waves[-1] == set(nodes)
    assert 250 < len(waves[3]) < 350  # 300 plus or minus 3 standard deviations of 16.4
    assert chosen(1, "cd" * 32) != waves[2]


def test_the_report_of_a_node_comes_back_from_its_info() -> None:
    report = UpdateReport(group="cafes", order=17, release=RELEASE, state="switched", since=NOW, installed=7)
    assert report_of({"model_update": json.loads(json.dumps(report_to_object(report)))}) == report
    assert report_of({"node": "n"}) is None
    with pytest.raises(ValueError, match=r"^model_update\.state: "):
        report_of({"model_update": {**report_to_object(report), "state": "lost"}})
    with pytest.raises(ValueError, match=r"^model_update: "):
        report_of({"model_update": 7})

"""The simulated nodes of the roll-out follow orders as the daemon does, and each fault of a roll-out is noticed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, needs_mosquitto
from support.orders import make_order

from benchmarks.fleet import model_node
from benchmarks.fleet.model_node import GROUP, ModelNode
from benchmarks.fleet.node import PREFIX
from benchmarks.fleet.roll_out_outcome import RolledOut, RollOutOutcome
from edge_emotion.config.settings import MqttSettings
from edge_emotion.fleet import broker as broker_module
from edge_emotion.fleet.broker import FleetBroker
from edge_emotion.updates.secret_key import make_key_pair, read_secret_key
from edge_emotion.updates.signed_order import sign_order

NAMES = [f"n{number}" for number in range(20)]


@needs_mosquitto
def test_nodes_take_confirm_and_leave_a_release_and_refuse_forged_and_old_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_node, "BEGIN", 0.05)
    monkeypatch.setattr(model_node, "WATCH", 0.05)
    monkeypatch.setattr(broker_module, "QUIET", 0.1)
    broker = Broker(tmp_path, persistence=False).start()
    key, other = (read_secret_key(make_key_pair(tmp_path / name)[0]) for name in ("one", "two"))
    refusals: Counter[str] = Counter()
    nodes = [ModelNode(name, [key.public], lambda name, _: name == "n3", refusals) for name in NAMES]
    later = datetime.now(timezone.utc) + timedelta(days=1)

    def publish(number: int, **fields: Any) -> None:
        forged = fields.pop("forged", False)
        order = make_order(group=GROUP, serial=number, expires=later, **fields)
        with FleetBroker(MqttSettings(host="127.0.0.1", port=broker.port, prefix=PREFIX)) as fleet:
            fleet.publish(GROUP, sign_order(order, other if forged else key))
            assert len(fleet.view.group(GROUP)) == 20

    async def until(reached: Callable[[], bool]) -> None:
        while not reached():
            await asyncio.sleep(0.01)

    def states() -> Counter[str]:
        return Counter(node.report.state for node in nodes)

    async def run() -> None:
        await asyncio.gather(*(node.connect(broker.port) for node in nodes))
        await asyncio.to_thread(publish, 5, action="install", percent=100.0)
        await until(lambda: states() == {"confirmed": 19, "returned": 1})
        assert sum(bool(node.serials) for node in nodes) == 19 and all(node.touched for node in nodes)
        await asyncio.to_thread(publish, 9, action="abort", percent=100.0, forged=True)
        await until(lambda: refusals == {"signature": 20})
        await asyncio.to_thread(publish, 4, action="abort", percent=100.0)
        await until(lambda: refusals["old"] == 20)
        assert states()["confirmed"] == 19
        await asyncio.to_thread(publish, 6, action="abort", percent=100.0)
        await until(lambda: states() == {"returned": 20})
        assert not any(node.serials for node in nodes)
        for node in nodes:
            node.leave()

    try:
        asyncio.run(asyncio.wait_for(run(), 60))
    finally:
        broker.kill()


GOOD = RolledOut(0, 9.0, (), touched=8, using=8, real_touched=2, real_using=2, real_refused=0, real_returned=0)
BAD = RolledOut(13, 4.0, (), touched=1, using=0, real_touched=0, real_using=0, real_refused=1, real_returned=0)
BACK = replace(GOOD, using=0, real_using=0, real_returned=2)
OUTCOME = RollOutOutcome(8, 2, 2, 1.0, BAD, GOOD, BACK, 8, 8, 20.0, 3.0)


def test_each_fault_of_a_roll_out_is_named() -> None:
    assert OUTCOME.faults == []
    wrong: dict[str, RollOutOutcome] = {
        "did not end with code 13": replace(OUTCOME, bad=replace(BAD, code=0)),
        "beyond the first wave": replace(OUTCOME, bad=replace(BAD, touched=2)),
        "used by a real daemon": replace(OUTCOME, bad=replace(BAD, real_touched=1)),
        "still uses the bad release": replace(OUTCOME, bad=replace(BAD, using=1)),
        "good release did not end with code 0": replace(OUTCOME, good=replace(GOOD, code=13)),
        "does not use the good release": replace(OUTCOME, good=replace(GOOD, real_using=1)),
        "forged": replace(OUTCOME, forged_refused=7),
        "old order": replace(OUTCOME, old_refused=7),
        "abort did not end": replace(OUTCOME, back=replace(BACK, code=13)),
        "still uses the aborted": replace(OUTCOME, back=replace(BACK, real_using=1)),
    }
    for text, outcome in wrong.items():
        (fault,) = outcome.faults
        assert text in fault

"""``edge-emotion fleet`` against a real broker and nodes that follow the contract."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr
from support.broker import Broker, free_port, needs_mosquitto, password_access, wait_until
from support.fleet_nodes import Behave, FleetNodes
from support.orders import make_order
from support.releases import Workshop, as_tar, long_ago, workshop

from edge_emotion.cli.main import main
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import SinkError
from edge_emotion.fleet import broker as broker_module
from edge_emotion.fleet import roll_out as roll_out_module
from edge_emotion.fleet.broker import FleetBroker
from edge_emotion.mqtt.timing import Timing
from edge_emotion.updates.minisign import read_public_key
from edge_emotion.updates.secret_key import make_key_pair, read_secret_key
from edge_emotion.updates.signed_order import read_order, sign_order
from edge_emotion.wire.model_order import ModelOrder
from edge_emotion.wire.topics import order_topic
from edge_emotion.wire.update_report import UpdateState

pytestmark = needs_mosquitto
NAMES = [f"n{number:03}" for number in range(60)]
PREFIXES = (f"test{number}" for number in count())


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One for all tests; each has a prefix of its own."""
    made = Broker(tmp_path_factory.mktemp("broker"), persistence=False).start()
    yield made
    made.kill()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Makes releases."""
    return workshop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "QUIET", 0.1)
    monkeypatch.setattr(roll_out_module, "LOOK", 0.05)


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """SIGINT is Ctrl-C, also where the tests run in the background and were started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Stage(NamedTuple):
    """A fleet of its own under ``prefix``, and the command line for it."""

    broker: Broker
    shop: Workshop
    prefix: str

    def nodes(
        self,
        behave: Behave | None = None,
        *,
        offline: list[str] | None = None,
        installed: int | None = None,
        precision: str = "int8",
    ) -> FleetNodes:
        """NAMES, in the group ``cafes``."""
        trusted = [read_public_key(self.shop.public)]
        found = FleetNodes(
            self.broker.port,
            NAMES,
            trusted,
            prefix=self.prefix,
            offline=offline or [],
            installed=installed,
            precision=precision,
        )
        found.behave = behave or found.behave
        return found

    def run(
        self, action: str, *words: str, group: str = "cafes", key: Path | None = None, port: int | None = None
    ) -> int:
        """The exit code of an action."""
        where = ["--mqtt", f"127.0.0.1:{port or self.broker.port}", "--prefix", self.prefix, "--group", group]
        signed = [] if action == "status" else ["--release-key", str(key or self.shop.folder / "release.key")]
        return main(["fleet", action, *words, *where, *signed])


@pytest.fixture
def stage(broker: Broker, shop: Workshop) -> Stage:
    return Stage(broker, shop, next(PREFIXES))


def test_a_good_release_reaches_all_nodes_in_waves(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    release = as_tar(stage.shop.release(7))
    with stage.nodes() as nodes:
        assert stage.run("roll-out", str(release), "--waves", "5,20,100", "--source", "https://a.example/7") == 0
        assert [order.percent for order in nodes.orders] == [5, 20, 100]
        assert [order.serial for order in nodes.orders] == [1, 2, 3]
        assert {order.source for order in nodes.orders} == {"https://a.example/7"} and not nodes.refused
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].endswith("(serial 7) for the 60 nodes of group cafes") and len(lines) == 5
        assert lines[-1] == "done: 60 of 60 nodes confirmed, 0 failed, 0 away"
        assert stage.run("roll-out", str(release), "--source", "https://a.example/7") == 0
        assert len(nodes.orders) == 3  # there was nothing left to order
        assert "going on at 100 %" in capsys.readouterr().out


def test_a_bad_release_is_aborted_in_the_first_wave_and_not_tried_again(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    release = stage.shop.release(8)

    def behave(node: str, _order: ModelOrder) -> tuple[UpdateState, str]:
        return ("returned", "the self-test fails") if int(node[1:]) % 2 else ("confirmed", "")

    with stage.nodes(behave) as nodes:
        assert stage.run("roll-out", str(release), "--waves", "20,100") == 13
        printed = capsys.readouterr()
        assert [order.action for order in nodes.orders] == ["install", "abort"]
        chosen = sum(nodes.orders[0].is_for(name) for name in NAMES)
        assert 0 < chosen < len(NAMES)
        assert f"{chosen} of {chosen} nodes that have used" in printed.err and printed.err.count("\n") == 1
        assert "more than 5 % have failed; n0" in printed.out and "the self-test fails" in printed.out
        assert stage.run("roll-out", str(release)) == 2
        assert "was aborted by order 2" in capsys.readouterr().err
        nodes.behave = lambda *_: ("confirmed", "")
        assert stage.run("roll-out", str(stage.shop.release(9)), "--waves", "100") == 0
        assert nodes.orders[-1].serial == 3


@pytest.mark.usefixtures("_ctrl_c")
def test_a_roll_out_that_paused_or_was_interrupted_continues_where_it_was(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    release = str(stage.shop.release(10))
    bad = True

    def behave(_node: str, order: ModelOrder) -> tuple[UpdateState, str]:
        return ("refused", "no room") if bad and order.percent > 20 else ("confirmed", "")

    with stage.nodes(behave) as nodes:
        assert stage.run("roll-out", release, "--waves", "20,60,100", "--on-failure", "pause") == 13
        wait_until(lambda: len(nodes.orders) == 3)  # the command does not wait for nodes that it pauses
        assert [(one.action, one.percent) for one in nodes.orders[-2:]] == [("install", 60), ("pause", 60)]
        assert "no room" in capsys.readouterr().out
        bad = False
        assert stage.run("pause") == 0 and len(nodes.orders) == 3  # it is paused
        interrupts = iter([signal.SIGINT])  # Ctrl-C when the order has come to the first node; nothing is reported
        nodes.behave = lambda *_: next((os.kill(os.getpid(), number) for number in interrupts), None)
        assert stage.run("roll-out", release, "--waves", "20,60,100") == 130
        assert "the same again continues" in capsys.readouterr().err
        nodes.behave = behave
        assert stage.run("pause") == 0
        assert stage.run("roll-out", release, "--waves", "20,60,100") == 0
        assert [one.percent for one in nodes.orders if one.action == "install"] == [20, 60, 60, 60, 100]
        assert stage.run("abort") == 0
        assert capsys.readouterr().out.endswith("no node uses it any more\n")
        assert stage.run("pause") == 2


def test_nodes_that_are_away_are_left_out_and_silent_ones_have_failed(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    release = str(stage.shop.release(11))
    with stage.nodes(offline=NAMES[::2]) as nodes:
        assert stage.run("roll-out", release, "--waves", "100") == 0
        assert "30 of 60 nodes confirmed, 0 failed, 30 away" in capsys.readouterr().out
        nodes.behave = lambda name, _: None if name == "n001" else ("confirmed", "")
        words = ["--waves", "100", "--max-failed", "3"]
        assert stage.run("roll-out", str(stage.shop.release(12)), *words, "--wait", "2") == 0
        assert "1 without an answer" in capsys.readouterr().out
        nodes.behave = lambda *_: ("waiting", "there is no /nowhere now")
        assert stage.run("roll-out", str(stage.shop.release(13)), *words, "--wait", "0.3") == 13
        assert "there is no /nowhere now" in capsys.readouterr().out
    with Stage(stage.broker, stage.shop, f"{stage.prefix}b").nodes(offline=NAMES) as nodes:
        assert Stage(stage.broker, stage.shop, f"{stage.prefix}b").run("roll-out", release, "--wait", "0.3") == 13
    assert "nodes was there for 0.3 s; the order stays" in capsys.readouterr().err


def test_a_broker_that_is_away_for_a_moment_gets_the_order_and_one_that_forbids_it_is_named(
    shop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lone = Broker(tmp_path).start()
    order = sign_order(make_order(), shop.key)
    try:
        with FleetBroker(MqttSettings(host="127.0.0.1", port=lone.port), Timing(first_retry=0.1)) as fleet:
            lone.kill()
            lone.start()
            fleet.publish("cafes", order)
            assert fleet.view.orders == {"cafes": order}
    finally:
        lone.kill()
    monkeypatch.setenv("EDGE_EMOTION_MQTT__PASSWORD", "secret")
    closed = Broker(tmp_path, password_access(tmp_path, "viewer", "secret", ["topic read #"]), persistence=False)
    stage = Stage(closed.start(), shop, "edge-emotion")
    try:
        settings = MqttSettings(host="127.0.0.1", port=closed.port, username="viewer", password=SecretStr("secret"))
        with FleetBroker(settings) as fleet, pytest.raises(SinkError, match=r"fleet/cafes/model \(Not authorized\)"):
            fleet.publish("cafes", order)
        assert stage.run("status", "--username", "viewer") == 2
        assert "groups under edge-emotion: none" in capsys.readouterr().err
    finally:
        closed.kill()


def test_without_the_library_of_signatures_only_status_works(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("updates.secret_key", "updates.minisign", "updates.signed_order", "fleet.orders", "fleet.release"):
        monkeypatch.delitem(sys.modules, f"edge_emotion.{module}", raising=False)
    with stage.nodes():
        for module in ("nacl.exceptions", "nacl.pwhash", "nacl.signing"):
            monkeypatch.setitem(sys.modules, module, None)
        assert stage.run("pause") == 5
        assert capsys.readouterr().err.endswith("pip install '.[update]' in the clone, or edge-emotion[update]\n")
        assert stage.run("status") == 0


def test_a_release_without_the_precision_of_nodes_is_a_warning_and_a_terminal_shows_the_wave_under_way(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with stage.nodes(precision="float16"):
        assert stage.run("roll-out", str(stage.shop.release(60)), "--waves", "100", "--protocol", "3.1.1") == 0
    printed = capsys.readouterr()
    assert "has only int8, and 60 nodes (n000) use another precision now" in printed.err
    assert "\r\x1b[Kwave 100 %: 60 of 60" in printed.err and "\r" not in printed.out


def test_another_order_ends_the_roll_out(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with stage.nodes() as nodes:
        nodes.behave = lambda *_: nodes.publish(order_topic(stage.prefix, "cafes"), b"", wait=False)
        assert stage.run("roll-out", str(stage.shop.release(14))) == 13
    assert "was replaced or removed by somebody else" in capsys.readouterr().err


def test_what_cannot_work_is_one_line_and_orders_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    shop, folder = stage.shop, stage.shop.folder
    good, newer = str(shop.release(20)), str(shop.release(22))
    other, _ = make_key_pair(folder / "other.key")
    expired, damaged = shop.release(24), shop.release(25)
    shop.sign(expired, expires=long_ago())
    (damaged / "manifest.json").write_bytes(b"{}")
    locked, _ = make_key_pair(folder / "locked.key", "secret")

    def roll_out(release: str | Path, *words: str, **options: Any) -> int:
        return stage.run("roll-out", str(release), *words, **options)

    cases: list[tuple[Callable[[], int], int, str]] = [
        (lambda: roll_out(good, group="bars"), 2, "no node is in group bars; groups under"),
        (lambda: stage.run("status", group="bars"), 2, "no node is in group bars"),
        (lambda: stage.run("pause"), 2, "nothing was ordered for group cafes"),
        (lambda: stage.run("abort"), 2, "nothing was ordered for group cafes"),
        (lambda: roll_out(good, port=free_port()), 6, "connection refused"),
        (lambda: roll_out(good, key=folder / "none"), 2, "No such file"),
        (lambda: roll_out(good, key=shop.public), 2, "is no secret key"),
        (lambda: roll_out(good, key=locked), 2, "--release-key-password-file"),
        (lambda: roll_out(good, key=other), 12, "which is not trusted here"),
        (lambda: roll_out(folder / "nothing"), 2, "no release at"),
        (lambda: roll_out(expired), 12, "has expired on 2020-01-01"),
        (lambda: roll_out(damaged), 12, "manifest.json of the release has another content"),
        (lambda: roll_out(good), 12, "is older than serial 21, which node n000 uses"),
        (lambda: roll_out(newer, "--source", "ftp://a"), 2, "--source ftp://a"),
        (lambda: roll_out(newer, "--source", "http://a.example/7"), 2, "--source: http://a.example/7 is not encrypted"),
        (lambda: roll_out(newer, "--source", "https://me:word@a.example/7"), 2, "without a login"),
        (lambda: roll_out(newer, "--source", "https://a.example/a b"), 2, "without blanks"),
        (lambda: roll_out(newer, "--source", "https:///7"), 2, "expected https://HOST/PATH"),
        (lambda: roll_out(newer, "--source", "/a\nb"), 2, r"--source /a\nb: expected"),
        (lambda: roll_out(newer, "--source", f"/{'a' * 1000}"), 2, "990 characters at most"),
        (lambda: roll_out(newer, "--trust", str(folder / "none")), 2, "public key"),
    ]  # fmt: skip
    with stage.nodes(installed=21) as nodes:
        for call, code, text in cases:
            assert call() == code, text
            printed = capsys.readouterr()
            assert text in printed.err and printed.err.count("\n") == 1, printed.err
        assert not nodes.orders and not nodes.refused
        _after_orders(stage, nodes, capsys)


def _forged_reports(stage: Stage, nodes: FleetNodes, capsys: pytest.CaptureFixture[str]) -> None:
    """Anybody who may write on the broker can write them."""
    report = {"group": "cafes", "state": "refused", "reason": "\x1b[2Ja\nb", "since": "2026-11-20T04:31:07Z"}
    nodes.publish(f"{stage.prefix}/forged/info", json.dumps({"model_update": report}).encode())
    nodes.publish(f"{stage.prefix}/text/info", b'"text"')
    assert stage.run("status") == 0
    printed = capsys.readouterr()
    assert "  forged: refused: \\x1b[2Ja\\nb\n" in printed.out and "\x1b" not in printed.out
    assert printed.err == "the info of node text is not understood: it is no JSON object\n"
    nodes.publish(f"{stage.prefix}/text/info", b"")


def _after_orders(stage: Stage, nodes: FleetNodes, capsys: pytest.CaptureFixture[str]) -> None:
    """An order of a release before, then one by another key, then a forged one."""
    shop, topic = stage.shop, order_topic(stage.prefix, "cafes")
    assert stage.run("roll-out", str(shop.release(30)), "--waves", "100") == 0
    assert stage.run("roll-out", str(shop.release(29)), "--waves", "100") == 12
    assert "which node n0" in capsys.readouterr().err
    later = nodes.orders[-1].model_copy(
        update={"serial": 40, "expires": datetime.now(timezone.utc) + timedelta(days=1)}
    )
    other = shop.folder / "other.key"
    nodes.publish(topic, sign_order(later, read_secret_key(other)))
    assert stage.run("roll-out", str(shop.release(31)), "--waves", "100") == 12
    error = capsys.readouterr().err
    assert "holds an order that cannot be trusted" in error and "--trust FILE" in error and error.count("\n") == 1
    words = ["--trust", f"{other}.pub", "--waves", "100"]
    report = {"group": "cafes", "order": 2**53 - 1, "since": "2026-11-20T04:31:07Z"}
    nodes.publish(f"{stage.prefix}/forged/info", json.dumps({"model_update": report}).encode())
    assert stage.run("roll-out", str(shop.release(31)), *words) == 12
    error = capsys.readouterr().err
    assert "node forged reports order 9007199254740991" in error and error.count("\n") == 1
    _forged_reports(stage, nodes, capsys)
    nodes.publish(f"{stage.prefix}/forged/info", b"")
    assert stage.run("roll-out", str(shop.release(31)), *words) == 0
    assert nodes.orders[-1].serial == 41


def test_status_counts_nodes_by_state_and_names_what_failed(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    release = str(stage.shop.release(50))

    def behave(node: str, _order: ModelOrder) -> tuple[UpdateState, str]:
        return ("refused", "no room") if node == "n007" else ("confirmed", "")

    with stage.nodes(behave, offline=["n003"]) as nodes:
        assert stage.run("roll-out", release, "--waves", "100") == 0
        capsys.readouterr()
        nodes.publish(f"{stage.prefix}/odd/info", b'{"model_update": {"group": 5}}')
        assert stage.run("status") == 0
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        assert "60 nodes, 59 online; order 1 (signature not verified): install tiny" in lines[0]
        assert [line.split()[:3] for line in lines[2:5]] == [
            ["confirmed", "58", "58"], ["refused", "1", "1"], ["waiting", "1", "0"]
        ]  # fmt: skip
        assert "  n007: refused: no room" in lines
        assert "the info of node odd is not understood: model_update.group" in printed.err
        assert stage.run("status", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["order"]["release"]["serial"] == 50 and len(found["nodes"]) == 60
        assert found["nodes"]["n003"]["online"] is False and found["nodes"]["n007"]["reason"] == "no room"
    assert read_order(sign_order(nodes.orders[0], stage.shop.key), [stage.shop.key.public], "cafes") == nodes.orders[0]

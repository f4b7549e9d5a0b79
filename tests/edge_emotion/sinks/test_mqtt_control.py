"""Commands to the node, and what it publishes about itself, over a real broker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from paho.mqtt import publish
from support.broker import Broker, Received, Subscriber, needs_mosquitto, wait_until
from support.home_assistant import check_device
from support.mqtt_stage import INFO, PROTOCOLS, ROOT, TIMING, MakeSink, MakeSubscriber, count_logged
from support.paths import ROOT as CLONE
from support.samples import event, state
from support.scripted_broker import ScriptedBroker

from edge_emotion.cli.demo import CLIP
from edge_emotion.config.settings import MqttSettings
from edge_emotion.labels import EMOTIONS
from edge_emotion.mqtt.bounded_client import MAX_PACKET
from edge_emotion.sinks.mqtt.sink import MqttSink
from edge_emotion.wire.home_assistant import device_config
from edge_emotion.wire.topics import Topics

pytestmark = needs_mosquitto

CONFIG = "homeassistant/device/edge-emotion_pi5/config"
MACHINE = {"rss_mb": 1.0, "cpu_percent": 1.0, "temperature_c": None, "throttling": None}

MakeAnnounced = Callable[..., MqttSink]


def send(broker: Broker, topic: str, payload: bytes | str, retain: bool = False) -> None:
    publish.single(topic, payload, qos=1, retain=retain, hostname="127.0.0.1", port=broker.port)


def device(*cameras: str) -> dict[str, Any]:
    return device_config(Topics("edge-emotion", "pi5"), cameras, EMOTIONS, "tiny", MACHINE)


def components(message: Received) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.payload)["components"]
    return found


@pytest.fixture
def announced(broker: Broker, tmp_path: Path) -> Iterator[MakeAnnounced]:
    """A sink with these cameras and their device, which remembers in a state directory."""
    sinks: list[MqttSink] = []
    (tmp_path / "state").mkdir()

    def make(*cameras: str, discovery: bool | dict[str, str] = True) -> MqttSink:
        settings = MqttSettings.model_validate({"host": "127.0.0.1", "port": broker.port, "discovery": discovery})
        shown = device(*cameras) if discovery else None
        sink = MqttSink(settings, "pi5", INFO, cameras, TIMING, device=shown, state_dir=tmp_path / "state")
        sinks.append(sink)
        sink.open()
        wait_until(lambda: sink.connected)
        return sink

    yield make
    for sink in sinks:
        sink.close()


@PROTOCOLS
def test_commands_are_handed_over_and_retained_ones_are_ignored(
    protocol: str, broker: Broker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    send(broker, f"{ROOT}/desk/enabled/set", "OFF", retain=True)
    heard: list[tuple[str, bytes]] = []
    sink = make_sink(broker.port, protocol=protocol)
    sink.listen(lambda topic, payload: heard.append((topic, payload)))
    sink.open()
    wait_until(lambda: sink.connected)
    for topic in ("desk/threshold/set", "request/info", "desk/state", "elsewhere/set", "hall/enabled/set"):
        send(broker, f"{ROOT}/{topic}", "1")
    wait_until(lambda: len(heard) == 3)
    assert heard == [(f"{ROOT}/{topic}", b"1") for topic in ("desk/threshold/set", "request/info", "hall/enabled/set")]
    assert count_logged(log, "is ignored") == (protocol == "3.1.1"), "a broker of MQTT 5 does not send it at all"


@PROTOCOLS
def test_orders_are_handed_over_those_that_wait_at_the_broker_too(
    protocol: str, broker: Broker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    topic, received = "edge-emotion/fleet/cafes/model", list[bytes]()
    send(broker, topic, "first", retain=True)
    sink = make_sink(broker.port, protocol=protocol)
    sink.follow(topic, received.append)
    sink.open()
    wait_until(lambda: received == [b"first"])
    send(broker, topic, "second", retain=True)
    wait_until(lambda: received == [b"first", b"second"])
    assert count_logged(log, "is ignored") == 0


def test_the_broker_holds_back_what_is_oversized(broker: Broker, make_sink: MakeSink) -> None:
    heard: list[bytes] = []
    sink = make_sink(broker.port)
    sink.listen(lambda _topic, payload: heard.append(payload))
    sink.open()
    wait_until(lambda: sink.connected)
    send(broker, f"{ROOT}/request/info", b"x" * 100_000)
    send(broker, f"{ROOT}/request/info", b"after")
    wait_until(lambda: heard)
    assert heard == [b"after"]


def test_of_an_oversized_message_of_mqtt_3_1_1_only_the_beginning_is_read(broker: Broker, make_sink: MakeSink) -> None:
    heard: list[bytes] = []
    sink = make_sink(broker.port, protocol="3.1.1")
    sink.listen(lambda _topic, payload: heard.append(payload))
    sink.open()
    wait_until(lambda: sink.connected)
    send(broker, f"{ROOT}/request/info", b"x" * 3_000_000)
    send(broker, f"{ROOT}/request/info", b"after")
    wait_until(lambda: len(heard) == 2)
    assert 4096 < len(heard[0]) < MAX_PACKET and heard[1] == b"after" and sink.connected


@pytest.mark.parametrize("claimed", [40_000_000, 268_435_455])
def test_a_broker_that_ignores_the_packet_limit_does_not_take_memory(
    make_broker: Callable[..., ScriptedBroker], make_sink: MakeSink, claimed: int
) -> None:
    topic = f"{ROOT}/request/info".encode()
    length = bytes([claimed & 127 | 128, claimed >> 7 & 127 | 128, claimed >> 14 & 127 | 128, claimed >> 21])
    head = b"\x30" + length + len(topic).to_bytes(2, "big") + topic + b"\0"
    body = bytes(min(claimed, 40_000_000) - len(topic) - 3)
    heard: list[bytes] = []
    sink = make_sink(make_broker(extra=head + body).port, drain_timeout=0.1)
    sink.listen(lambda _topic, payload: heard.append(payload))
    tracemalloc.start()
    try:
        sink.open()
        wait_until(lambda: heard)
        if claimed == 40_000_000:  # the end of the packet is found: the next one is understood
            sink.publish(event(1))
            wait_until(lambda: not sink.waiting)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert 4096 < len(heard[0]) < MAX_PACKET


def test_subscriptions_are_renewed_after_the_broker_was_killed(broker: Broker, make_sink: MakeSink) -> None:
    heard: list[bytes] = []
    sink = make_sink(broker.port)
    sink.listen(lambda _topic, payload: heard.append(payload))
    sink.open()
    wait_until(lambda: sink.connected)
    broker.kill()
    wait_until(lambda: not sink.connected)
    broker.start()
    wait_until(lambda: sink.connected)
    send(broker, f"{ROOT}/request/info", b"again")
    wait_until(lambda: heard == [b"again"])


def test_answers_and_figures_are_not_retained_and_features_are(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port)
    sink.report({"lost": True})
    sink.respond("info", {"lost": True})
    sink.open()
    wait_until(lambda: sink.connected)
    sink.feature_state("desk", "enabled", b"ON")
    sink.respond("info", {"status": "ok"})
    sink.report({"uptime": 1.0})
    wait_until(lambda: subscriber.on("/stats") and subscriber.on("/response/info") and subscriber.on("/enabled/state"))
    assert subscriber.on("/stats") == [Received(f"{ROOT}/stats", b'{"uptime":1.0}', 0, False)]
    assert subscriber.on("/info")[1:] == [Received(f"{ROOT}/response/info", b'{"status":"ok"}', 1, False)]
    assert subscriber.on("/enabled/state") == [Received(f"{ROOT}/desk/enabled/state", b"ON", 1, True)]


def test_the_device_is_announced_retained_and_in_home_assistants_form(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    announced("desk")
    late = make_subscriber(broker)
    wait_until(lambda: late.on("/config"))
    (message,) = late.on("/config")
    assert (message.topic, message.qos, message.retain) == (CONFIG, 1, True)
    check_device(json.loads(message.payload))


def test_after_the_birth_message_of_home_assistant_the_device_and_then_the_states_are_published(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    sink = announced("desk")
    sink.camera_available("desk", True)
    sink.camera_state("desk", state())
    late = make_subscriber(broker)
    published = ("desk/state", "desk/availability", f"{ROOT}/availability")
    wait_until(lambda: all(late.on(topic) for topic in published))
    send(broker, "homeassistant/status", "offline")
    send(broker, "homeassistant/status", "online")

    def after_birth() -> list[Received]:
        births = [n for n, message in enumerate(late.messages) if message.topic == "homeassistant/status"]
        return late.messages[births[1] + 1 :] if len(births) == 2 else []

    wait_until(lambda: len(after_birth()) == 5, 30)
    again = [message.topic for message in after_birth()]
    assert again[0] == f"{ROOT}/info" and again[-1] == f"{ROOT}/availability"
    assert again.index(CONFIG) < again.index(f"{ROOT}/desk/state")
    assert all(message.retain for message in after_birth())


def test_the_topics_and_components_of_a_removed_camera_are_cleared(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    sink = announced("desk", "hall")
    sink.camera_state("hall", state())
    subscriber = make_subscriber(broker)
    wait_until(lambda: subscriber.on("hall/state"))
    sink.describe(INFO, ["desk"], device("desk"))
    expect_that_hall_is_cleared(subscriber, 1)
    sink.describe(INFO, ["desk", "hall"], device("desk", "hall"))
    sink.camera_available("hall", True)
    wait_until(lambda: subscriber.on("hall/availability")[-1].payload == b"online")
    assert "hall_emotion" in components(subscriber.on("/config")[-1])


def test_those_of_a_camera_that_was_removed_while_the_node_was_off_are_cleared_once(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    sink = announced("desk", "hall")
    sink.camera_state("hall", state())
    subscriber = make_subscriber(broker)
    wait_until(lambda: subscriber.on("hall/state"))
    sink.close()
    wait_until(lambda: subscriber.messages[-1].payload == b"offline")
    seen = len(subscriber.on("/config"))
    announced("desk").close()
    expect_that_hall_is_cleared(subscriber, seen)
    third = announced("desk")
    wait_until(lambda: len(subscriber.on("/config")) == seen + 3)
    third.close()
    assert list(components(subscriber.on("/config")[-1])) == list(device("desk")["components"])
    assert len(subscriber.on("/config")) == seen + 3


def expect_that_hall_is_cleared(subscriber: Subscriber, seen: int) -> None:
    """First a payload that says which components go, then one without them; no retained topic stays."""
    wait_until(lambda: len(subscriber.on("/config")) == seen + 2)
    removing, clean = subscriber.on("/config")[seen:]
    gone = {key: value for key, value in device("hall")["components"].items() if key.startswith("hall_")}
    removed = {key: value for key, value in components(removing).items() if key.startswith("hall_")}
    assert removed == {key: {"platform": value["platform"]} for key, value in gone.items()}
    assert components(clean) == device("desk")["components"]
    for channel in ("state", "availability", "enabled/state", "threshold/state", "classes/state"):
        wait_until(lambda channel=channel: subscriber.on(f"hall/{channel}")[-1:])
        wait_until(lambda channel=channel: subscriber.on(f"hall/{channel}")[-1].payload == b"")


def test_the_device_goes_when_discovery_is_switched_off(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    announced("desk").close()
    announced("desk", discovery=False).close()
    sink = announced("desk")
    late = make_subscriber(broker)
    wait_until(lambda: late.on("/config"))
    sink.describe(INFO, ["desk"], None)
    wait_until(lambda: len(late.on("/config")) == 2)
    assert late.on("/config")[-1].payload == b""
    sink.close()
    later = make_subscriber(broker)
    wait_until(lambda: later.on("pi5/availability"))
    assert not later.on("/config")


def test_the_device_moves_when_the_prefix_changes(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    announced("desk").close()
    announced("desk", discovery={"prefix": "ha"}).close()
    late = make_subscriber(broker)
    wait_until(lambda: late.on("pi5/availability") and late.on("/config"))
    assert [message.topic for message in late.on("/config")] == [CONFIG.replace("homeassistant", "ha")]
    check_device(json.loads(late.on("/config")[0].payload))


def test_a_node_that_never_was_in_home_assistant_stays_away(
    broker: Broker, announced: MakeAnnounced, make_subscriber: MakeSubscriber
) -> None:
    subscriber = make_subscriber(broker)
    announced("desk", discovery=False).close()
    wait_until(lambda: subscriber.messages and subscriber.messages[-1].payload == b"offline")
    assert not [message for message in subscriber.messages if message.topic.startswith("homeassistant")]


def test_a_whole_node_obeys_reloads_and_remembers(
    broker: Broker, make_subscriber: MakeSubscriber, tmp_path: Path
) -> None:
    file = tmp_path / "edge-emotion.yaml"
    camera = {"source": str(CLIP), "loop": True}
    tree: dict[str, Any] = {
        "node": "pi5",
        "state_dir": str(tmp_path / "state"),
        "classifier": {"model": "tiny"},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "stats_interval": 1},
        "cameras": {"desk": camera},
    }
    file.write_text(yaml.safe_dump(tree))
    subscriber = make_subscriber(broker)

    def last(topic: str) -> bytes:
        return subscriber.on(topic)[-1].payload if subscriber.on(topic) else b"nothing"

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            command = [sys.executable, "-m", "edge_emotion", "run", "--config", str(file)]
            environment = {**os.environ, "PYTHONPATH": str(CLONE)}
            return subprocess.Popen(command, cwd=CLONE, env=environment, stdout=log, stderr=log)

    process = start()
    try:
        wait_until(lambda: last("desk/availability") == b"online" and last("desk/enabled/state") == b"ON", 60)
        check_device(json.loads(last("/config")))
        send(broker, f"{ROOT}/desk/enabled/set", "OFF")
        wait_until(lambda: last("desk/enabled/state") == b"OFF" and last("desk/availability") == b"offline")
        send(broker, f"{ROOT}/desk/threshold/set", "7")
        file.write_text(yaml.safe_dump({**tree, "cameras": {"desk": camera, "hall": camera}, "node": "pi4"}))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: last("hall/availability") == b"online", 60)
        send(broker, f"{ROOT}/request/reload", '{"transaction": "t"}')
        wait_until(lambda: subscriber.on("/response/reload"))
        assert json.loads(last("/response/reload")) == {
            "status": "ok", "data": {"applied": [], "restart": ["node"]}, "error": None, "transaction": "t",
        }  # fmt: skip
        wait_until(lambda: b'"hall":{"status":"online"' in last("/stats"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        file.write_text(yaml.safe_dump(tree))
        process = start()
        wait_until(lambda: last("hall/state") == b"" and last("hall/enabled/state") == b"", 60)
        assert last("desk/enabled/state") == b"OFF" and last("desk/availability") == b"offline"
    finally:
        process.terminate()
        process.wait(30)
    log = (tmp_path / "log").read_text()
    assert "reload: applied cameras.hall; needs a restart: node" in log and "Traceback" not in log
    assert "desk/threshold/set' is refused" in log or "from 0 to 1" in log

"""Two nodes of one name, clones of one SD card, and last wills that arrive late."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish as paho
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.mqtt_stage import INFO, PROTOCOLS, ROOT, TIMING, MakeSink, MakeSubscriber, count_logged

from edge_emotion.config.settings import MqttSettings
from edge_emotion.sinks.mqtt.client_id import make_client_id
from edge_emotion.sinks.mqtt.sink import MqttSink

WARNING = "another client"

MakeNode = Callable[..., MqttSink]


@pytest.fixture
def make_node(broker: Broker) -> Iterator[MakeNode]:
    """A connected node pi5 with the camera desk online, whose state directory is given."""
    nodes: list[MqttSink] = []

    def make(state_dir: Path, protocol: str = "5") -> MqttSink:
        settings = MqttSettings.model_validate({"host": "127.0.0.1", "port": broker.port, "protocol": protocol})
        nodes.append(MqttSink(settings, "pi5", INFO, ["desk"], TIMING, state_dir=state_dir))
        nodes[-1].open()
        nodes[-1].camera_available("desk", True)
        wait_until(lambda: nodes[-1].connected)
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


def newest(subscriber: Subscriber, topic: str) -> bytes:
    messages = subscriber.on(topic)
    return messages[-1].payload if messages else b""


def is_online(subscriber: Subscriber) -> bool:
    return newest(subscriber, "pi5/availability") == newest(subscriber, "desk/availability") == b"online"


@needs_mosquitto
@PROTOCOLS
def test_a_false_offline_is_corrected_and_logged_once(
    protocol: str, broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port, protocol=protocol)
    sink.open()
    sink.camera_available("desk", True)
    wait_until(lambda: is_online(subscriber))
    for _ in range(3):
        count = len(subscriber.on("pi5/availability"))
        paho.single(f"{ROOT}/availability", b"offline", qos=1, retain=True, hostname="127.0.0.1", port=broker.port)
        wait_until(lambda count=count: len(subscriber.on("pi5/availability")) >= count + 2)
        wait_until(lambda: is_online(subscriber))
    assert count_logged(log, WARNING) == (protocol == "5"), "MQTT 3.1.1 cannot tell it from the own last will"


@needs_mosquitto
@PROTOCOLS
@pytest.mark.parametrize("cloned", [False, True])
def test_a_second_node_of_the_name_that_stops_does_not_leave_the_first_one_offline(
    protocol: str,
    cloned: bool,
    broker: Broker,
    make_node: MakeNode,
    make_subscriber: MakeSubscriber,
    tmp_path: Path,
    log: pytest.LogCaptureFixture,
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    if cloned:
        make_node(first, protocol).close()
        shutil.copytree(first, second)
    else:
        second.mkdir()
    stays, stops = make_node(first, protocol), make_node(second, protocol)
    assert stays.connected
    subscriber = make_subscriber(broker)
    wait_until(lambda: is_online(subscriber))
    stops.close()
    wait_until(lambda: b"offline" in [message.payload for message in subscriber.on("pi5/availability")])
    wait_until(lambda: is_online(subscriber))
    late = make_subscriber(broker)
    wait_until(lambda: is_online(late))
    assert stays.connected and count_logged(log, WARNING) == (protocol == "5")
    assert not count_logged(log, "lost broker"), "the two have different client ids"


@needs_mosquitto
@PROTOCOLS
def test_a_node_alone_finds_no_other_through_losses_and_stops(
    protocol: str, broker: Broker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        sink = make_sink(broker.port, protocol=protocol, drain_timeout=0.1)
        sink.open()
        wait_until(lambda sink=sink: sink.connected)
        broker.stop()
        wait_until(lambda sink=sink: not sink.connected)
        broker.start()
        wait_until(lambda sink=sink: sink.connected)
        sink.describe({**INFO, "version": "2"}, ["desk", "hall"], None)
        sink.close()
    assert not count_logged(log, WARNING)


def test_the_client_id_stays_with_the_file_and_a_copy_has_another_one(tmp_path: Path) -> None:
    file = tmp_path / "pi5.outbox.db"
    file.write_bytes(b"")
    before = make_client_id("pi5", "0123abcd", file)
    assert before == make_client_id("pi5", "0123abcd", file) and before.startswith("edge-emotion-pi5-")
    copy = tmp_path / "copy.db"
    shutil.copy2(file, copy)
    assert make_client_id("pi5", "0123abcd", copy) != before
    copy.replace(file)
    assert make_client_id("pi5", "0123abcd", file) != before
    assert make_client_id("pi5", "4567abcd", file) != before


def test_without_a_file_each_client_id_is_another_one() -> None:
    assert make_client_id("pi5", "", None) != make_client_id("pi5", "", None)

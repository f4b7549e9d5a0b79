"""A node whose name or prefix has changed: its old topics go, its events and numbers stay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.broker import Broker, Subscriber, needs_mosquitto, password_access, wait_until
from support.mqtt_stage import TIMING, count_logged
from support.samples import event, state

from edge_emotion.config.settings import MqttSettings
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.mqtt.sink import MqttSink
from edge_emotion.wire.home_assistant import device_config
from edge_emotion.wire.payloads import event_from_json
from edge_emotion.wire.topics import Topics

pytestmark = needs_mosquitto

NO_MACHINE = {"temperature_c": None, "throttling": None}


class Node:
    """A node with its counter, outbox and discovery, as the daemon makes it."""

    def __init__(self, folder: Path, port: int, name: str, **settings: Any) -> None:
        mqtt = MqttSettings.model_validate({"host": "127.0.0.1", "port": port, "drain_timeout": 3, **settings})
        device = device_config(Topics(mqtt.prefix, name), ["desk"], ["happiness"], "tiny", NO_MACHINE)
        self.numbers = EventCounter(folder, name)
        self.sink = MqttSink(
            mqtt, name, {"node": name}, ["desk"], TIMING, device=device, state_dir=folder, numbers=self.numbers
        )
        self.name = name
        self.sink.open()
        self.sink.camera_available("desk", True)
        self.sink.camera_state("desk", state())
        for feature in ("enabled", "threshold", "classes"):
            self.sink.feature_state("desk", feature, b"1")

    def publish(self, count: int) -> None:
        for _ in range(count):
            number = self.numbers()
            self.numbers.save()
            self.sink.publish(event(number, node=self.name))

    def close(self) -> None:
        self.sink.close()
        self.numbers.close()


Start = Callable[..., Node]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    nodes: list[Node] = []

    def start(port: int, name: str, **settings: Any) -> Node:
        nodes.append(Node(tmp_path / "state", port, name, **settings))
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


def retained(subscriber: Subscriber) -> set[str]:
    """Topics that the broker keeps, as a subscriber that saw all changes knows."""
    kept: dict[str, bytes] = {m.topic: m.payload for m in list(subscriber.messages) if m.retain}
    return {topic for topic, payload in kept.items() if payload}


@pytest.mark.parametrize(
    ("name", "settings", "device"),
    [("hall", {}, "edge-emotion_hall"), ("pi5", {"prefix": "home/faces"}, "edge-emotion_pi5")],
    ids=["another name", "another prefix"],
)
def test_no_retained_topic_is_left_under_the_old_name_and_none_is_missing_under_the_new(
    broker: Broker, start: Start, name: str, settings: dict[str, Any], device: str
) -> None:
    subscriber = Subscriber(broker, "before")
    start(broker.port, "pi5").close()
    wait_until(lambda: "edge-emotion/pi5/availability" in retained(subscriber))
    before = retained(subscriber)
    renamed = start(broker.port, name, **settings)
    root = f"{settings.get('prefix', 'edge-emotion')}/{name}"
    expected = {topic.replace("edge-emotion/pi5", root).replace("edge-emotion_pi5", device) for topic in before}
    wait_until(lambda: retained(subscriber) == expected)
    assert len(before) == 8
    renamed.close()
    start(broker.port, name, **settings).close()  # nothing is cleared twice
    subscriber.close()
    late = Subscriber(broker, "after")
    wait_until(lambda: retained(late) == expected)
    late.close()


def test_events_that_wait_are_delivered_under_the_new_name_with_their_ids_and_numbers(
    broker: Broker, start: Start, log: pytest.LogCaptureFixture
) -> None:
    subscriber = Subscriber(broker, "before")
    old = start(broker.port, "pi5")
    old.publish(2)
    wait_until(lambda: not old.sink.waiting)
    broker.stop()
    old.publish(3)
    wait_until(lambda: old.sink.waiting == 3)
    old.close()
    broker.start()
    new = start(broker.port, "hall")
    wait_until(lambda: new.sink.connected)
    new.publish(1)
    wait_until(lambda: len(subscriber.on("hall/desk/events")) == 4)
    told = [event_from_json(message.payload) for message in subscriber.on("hall/desk/events")]
    assert [each.seq for each in told] == [3, 4, 5, 6] and {each.node for each in told} == {"hall"}
    assert [each.id for each in told] == [event(number).id for number in range(3, 7)]
    assert [each.replayed for each in told] == [True, True, True, False]
    assert count_logged(log, "node hall was named pi5") == 1
    subscriber.close()


def test_topics_that_could_not_be_cleared_are_cleared_at_a_later_start(broker: Broker, start: Start) -> None:
    subscriber = Subscriber(broker, "before")
    start(broker.port, "pi5").close()
    broker.stop()
    start(broker.port, "hall", drain_timeout=0).close()
    start(broker.port, "attic", drain_timeout=0).close()
    broker.start()
    start(broker.port, "attic")
    wait_until(lambda: {topic.split("/")[-2] for topic in retained(subscriber)} >= {"attic", "desk"})
    wait_until(lambda: not [topic for topic in retained(subscriber) if "pi5" in topic or "hall" in topic])
    subscriber.close()


def test_access_rules_that_forbid_it_are_logged_once_with_the_command_that_clears(
    tmp_path: Path, start: Start, log: pytest.LogCaptureFixture
) -> None:
    rules = ["topic readwrite #"]
    broker = Broker(tmp_path, password_access(tmp_path, "pi", "s3cret", rules)).start()
    login = {"username": "pi", "password": "s3cret"}
    start(broker.port, "pi5", **login).close()
    own = ["user pi", "topic read #", "topic write edge-emotion/hall/#", "topic write homeassistant/#", ""]
    (tmp_path / "acl").write_text("\n".join(own), encoding="utf-8")
    broker.reload()
    renamed = start(broker.port, "hall", **login)
    wait_until(lambda: count_logged(log, "refuses to clear"))
    renamed.publish(1)
    wait_until(lambda: renamed.sink.connected and not renamed.sink.waiting)
    (line,) = [message for message in log.messages if "refuses" in message]
    assert line.endswith(
        f"edge-emotion forget pi5 --prefix edge-emotion --mqtt 127.0.0.1:{broker.port} --username NAME"
    )
    broker.stop()


def test_two_nodes_that_use_one_directory_at_once_are_no_rename(broker: Broker, start: Start, tmp_path: Path) -> None:
    subscriber = Subscriber(broker, "before")
    first = start(broker.port, "pi5")
    second = start(broker.port, "hall")
    first.publish(3)
    second.publish(1)
    first.close()
    second.close()
    third = start(broker.port, "attic")
    third.publish(1)
    wait_until(lambda: not third.sink.waiting)
    files = {path.name for path in (tmp_path / "state").glob("*.lock")}
    assert files == {"pi5.lock", "hall.lock", "attic.lock"}
    roots = {topic.split("/")[1] for topic in retained(subscriber) if topic.startswith("edge-emotion/")}
    assert roots == {"pi5", "hall", "attic"}
    wait_until(lambda: subscriber.on("attic/desk/events"))
    assert json.loads(subscriber.on("attic/desk/events")[0].payload)["seq"] == 1
    subscriber.close()

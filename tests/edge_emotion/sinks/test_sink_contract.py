"""The contract of ``protocols.EventSink``, tested with every adapter, with and without a network behind it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from support.broker import Broker, Subscriber, free_port, needs_mosquitto, wait_until
from support.pipelines import settings_with
from support.samples import event, state

from edge_emotion.cli.printed_events import PrintedEvents
from edge_emotion.config.settings import MqttSettings
from edge_emotion.config.web_settings import WebSettings
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.protocols import EventSink
from edge_emotion.sinks.jsonl import JsonlSink
from edge_emotion.sinks.memory import MemorySink
from edge_emotion.sinks.mqtt.sink import MqttSink
from edge_emotion.system.append_file import LineOutput
from edge_emotion.web.live import KEPT_EVENTS
from edge_emotion.web.sink import PageSink
from edge_emotion.wire.payloads import event_from_json


@dataclass
class Case:
    """A sink and a way to see what arrived behind it."""

    sink: EventSink
    delivered: Callable[[], list[int]]

    @property
    def dropped(self) -> int:
        return int(getattr(self.sink, "dropped", 0))


def memory(_folder: Path, _stack: ExitStack) -> Case:
    sink = MemorySink()
    return Case(sink, lambda: [e.seq for e in sink.events])


def jsonl(folder: Path, _stack: ExitStack) -> Case:
    path = folder / "events.jsonl"
    return Case(JsonlSink(str(path)), lambda: [event_from_json(line).seq for line in path.read_bytes().splitlines()])


def printed(folder: Path, stack: ExitStack) -> Case:
    file = stack.enter_context((folder / "terminal.txt").open("a+"))
    sink = PrintedEvents(lambda: LineOutput(file.fileno(), file.name))
    return Case(sink, lambda: [int(seq) for seq in re.findall(r"seq (\d+)\)\n", Path(file.name).read_text())])


def mqtt(folder: Path, stack: ExitStack, protocol: str = "5") -> Case:
    broker = Broker(folder).start()
    stack.callback(broker.stop)
    subscriber = Subscriber(broker, "subscriber")
    stack.callback(subscriber.close)

    def delivered() -> list[int]:
        return list(dict.fromkeys(event_from_json(message.payload).seq for message in subscriber.on("events")))

    settings = MqttSettings.model_validate({"host": "127.0.0.1", "port": broker.port, "protocol": protocol})
    return Case(MqttSink(settings, "pi5", {}, ["desk"]), delivered)


def mqtt_311(folder: Path, stack: ExitStack) -> Case:
    return mqtt(folder, stack, "3.1.1")


def mqtt_without_broker(_folder: Path, _stack: ExitStack) -> Case:
    settings = MqttSettings(host="127.0.0.1", port=free_port(), drain_timeout=0.1)
    return Case(MqttSink(settings, "pi5", {}, ["desk"]), list)


def mqtt_with_silent_peer(_folder: Path, stack: ExitStack) -> Case:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    settings = MqttSettings(host="127.0.0.1", port=server.getsockname()[1], drain_timeout=0.1)
    return Case(MqttSink(settings, "pi5", {}, ["desk"]), list)


def page(_folder: Path, _stack: ExitStack) -> Case:
    sink = PageSink(WebSettings(listen="127.0.0.1:0"))
    control = SimpleNamespace(settings=settings_with(), examine=dict)
    sink.connect(cast(Daemon, SimpleNamespace(on_frame=[])), cast(Control, control))
    return Case(sink, lambda: [event["seq"] for event in sink.live.events(None, KEPT_EVENTS)["events"]])


ADAPTERS = [
    memory,
    jsonl,
    printed,
    page,
    pytest.param(mqtt, marks=needs_mosquitto),
    pytest.param(mqtt_311, marks=needs_mosquitto),
    mqtt_without_broker,
    mqtt_with_silent_peer,
]


@pytest.fixture(params=ADAPTERS, ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with ExitStack() as stack:
        case: Case = request.param(tmp_path, stack)
        yield case
        case.sink.close()


def test_it_is_an_event_sink(case: Case) -> None:
    assert isinstance(case.sink, EventSink)


def test_every_event_is_delivered_in_order_or_counted_as_dropped(case: Case) -> None:
    case.sink.open()
    for seq in range(100):
        case.sink.publish(event(seq))
    case.sink.close()
    wait_until(lambda: len(case.delivered()) + case.dropped == 100)
    assert case.delivered() == sorted(case.delivered())


def test_states_and_availability_come_at_any_time_and_disturb_no_event(case: Case) -> None:
    case.sink.camera_available("desk", False)
    case.sink.camera_state("desk", state(0))
    case.sink.open()
    case.sink.camera_available("desk", True)
    case.sink.publish(event(1))
    case.sink.camera_state("desk", state(1))
    case.sink.camera_state("hall", state(2))
    case.sink.camera_available("desk", False)
    case.sink.close()
    case.sink.camera_state("desk", state(0))
    case.sink.camera_available("desk", False)
    wait_until(lambda: len(case.delivered()) + case.dropped == 1)


def test_events_may_come_from_several_threads(case: Case) -> None:
    case.sink.open()
    threads = [threading.Thread(target=case.sink.publish, args=(event(k),)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    case.sink.close()
    wait_until(lambda: len(case.delivered()) + case.dropped == 8)


def test_close_may_be_called_before_open_and_twice(case: Case) -> None:
    case.sink.close()
    case.sink.open()
    case.sink.publish(event(1))
    case.sink.close()
    case.sink.close()
    wait_until(lambda: len(case.delivered()) + case.dropped == 1)


def test_an_event_after_close_is_kept_or_counted_never_an_error(case: Case) -> None:
    case.sink.open()
    case.sink.close()
    case.sink.publish(event(1))
    assert len(case.delivered()) + case.dropped == 1

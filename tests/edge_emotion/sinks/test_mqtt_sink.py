from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.broker import Broker, Received, needs_mosquitto, wait_until
from support.mqtt_stage import (
    INFO,
    PROTOCOLS,
    ROOT,
    MakeSink,
    MakeSubscriber,
    network_threads,
    publish,
    replayed,
    said,
    sequence,
)
from support.paths import ROOT as CHECKOUT
from support.samples import event, state

from edge_emotion.errors import SinkError
from edge_emotion.wire.payloads import event_to_json, state_to_json

pytestmark = needs_mosquitto


@PROTOCOLS
def test_topics_qos_and_retain_flags_are_those_of_the_contract(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, protocol: str
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port, protocol=protocol)
    sink.open()
    wait_until(lambda: len(subscriber.messages) == 3)
    sink.camera_available("desk", True)
    wait_until(lambda: len(subscriber.messages) == 4)
    sink.camera_state("desk", state())
    wait_until(lambda: len(subscriber.messages) == 5)
    publish(sink, range(1, 3))
    wait_until(lambda: len(subscriber.messages) == 7)
    sink.close()
    wait_until(lambda: len(subscriber.messages) == 9)
    assert subscriber.messages == [
        Received(f"{ROOT}/info", json.dumps(INFO, separators=(",", ":")).encode(), 1, True),
        Received(f"{ROOT}/desk/availability", b"offline", 1, True),
        Received(f"{ROOT}/availability", b"online", 1, True),
        Received(f"{ROOT}/desk/availability", b"online", 1, True),
        Received(f"{ROOT}/desk/state", state_to_json(state()), 1, True),
        Received(f"{ROOT}/desk/events", event_to_json(event(1)), 1, False),
        Received(f"{ROOT}/desk/events", event_to_json(event(2)), 1, False),
        Received(f"{ROOT}/desk/availability", b"offline", 1, True),
        Received(f"{ROOT}/availability", b"offline", 1, True),
    ]


def test_a_clean_close_leaves_everything_offline_for_those_who_come_later(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    sink = make_sink(broker.port)
    sink.open()
    sink.camera_available("desk", True)
    sink.camera_state("desk", state())
    sink.publish(event(1))
    sink.close()
    late = make_subscriber(broker)
    wait_until(lambda: len(late.messages) == 4)
    retained = {message.topic.removeprefix(ROOT): message.payload for message in late.messages}
    assert (retained["/availability"], retained["/desk/availability"]) == (b"offline", b"offline")
    assert retained["/desk/state"] == state_to_json(state())


@PROTOCOLS
def test_many_events_arrive_once_and_in_order_and_none_is_left_behind_by_close(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, protocol: str
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port, protocol=protocol, drain_timeout=20.0)
    sink.open()
    wait_until(lambda: sink.connected)
    publish(sink, range(500))
    sink.close()
    wait_until(lambda: len(subscriber.on("events")) == 500)
    assert sequence(subscriber.on("events")) == list(range(500))
    assert not replayed(subscriber.on("events"))
    assert (sink.waiting, sink.dropped, sink.refused) == (0, 0, 0)


def test_events_of_several_threads_all_arrive_and_each_thread_keeps_its_order(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port)
    sink.open()
    threads = [threading.Thread(target=publish, args=(sink, range(k * 100, k * 100 + 100))) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(subscriber.on("events")) == 400)
    numbers = sequence(subscriber.on("events"))
    for k in range(4):
        assert [n for n in numbers if n // 100 == k] == list(range(k * 100, k * 100 + 100))


@PROTOCOLS
def test_the_last_will_says_offline_when_the_process_is_killed(
    broker: Broker, make_subscriber: MakeSubscriber, protocol: str
) -> None:
    subscriber = make_subscriber(broker)
    program = (
        "import sys, time\n"
        "from edge_emotion.config.settings import MqttSettings\n"
        "from edge_emotion.sinks.mqtt.sink import MqttSink\n"
        "settings = MqttSettings(host='127.0.0.1', port=int(sys.argv[1]), protocol=sys.argv[2])\n"
        "MqttSink(settings, 'pi5', {}, []).open(); time.sleep(120)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen([sys.executable, "-c", program, str(broker.port), protocol], env=environment)
    try:
        wait_until(lambda: [m.payload for m in subscriber.on("pi5/availability")] == [b"online"])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    wait_until(lambda: [m.payload for m in subscriber.on("pi5/availability")] == [b"online", b"offline"])
    assert subscriber.on("pi5/availability")[-1] == Received(f"{ROOT}/availability", b"offline", 1, True)


def test_close_ends_also_when_the_broker_stands_still_and_tells_what_is_lost(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port, drain_timeout=0.2)
    sink.open()
    wait_until(lambda: subscriber.on("pi5/availability"))
    broker.freeze()
    publish(sink, range(50))
    sink.close()
    assert said(log, "50 events were not delivered") == 1
    assert sink.dropped == 50 and not network_threads()
    broker.thaw()
    wait_until(lambda: subscriber.on("pi5/availability")[-1].payload == b"offline")


def test_an_event_after_close_is_counted_as_dropped(broker: Broker, make_sink: MakeSink) -> None:
    sink = make_sink(broker.port)
    sink.open()
    sink.close()
    sink.publish(event(1))
    assert (sink.waiting, sink.dropped) == (0, 1)
    with pytest.raises(SinkError, match="only once"):
        sink.open()


def test_values_without_json_form_are_refused_and_the_next_event_is_sent(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port)
    sink.open()
    sink.camera_state("desk", state(confidence=float("nan")))
    sink.publish(event(1, quality=float("nan")))
    sink.publish(event(2))
    wait_until(lambda: subscriber.on("events"))
    assert sequence(subscriber.on("events")) == [2] and sink.refused == 1
    assert not subscriber.on("desk/state")

"""Brokers of MQTT 5 that announce limits in CONNACK."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.broker import Broker, Subscriber, needs_mosquitto, wait_until
from support.mqtt_stage import MakeSink, MakeSubscriber, count_logged, publish, sequence
from support.samples import event

pytestmark = needs_mosquitto

DEVICE = {"components": {f"sensor_{n}": {"platform": "sensor", "name": "x" * 50} for n in range(100)}}

MakeLimited = Callable[[str], Broker]


@pytest.fixture
def make_limited(tmp_path: Path, request: pytest.FixtureRequest) -> MakeLimited:
    def make(limit: str) -> Broker:
        broker = Broker(tmp_path, limits=[limit]).start()
        request.addfinalizer(broker.stop)
        return broker

    return make


def connections(broker: Broker) -> int:
    return sum("New client connected" in line and "as edge-emotion-pi5" in line for line in broker.log.splitlines())


def deliver(sink_port: int, make_sink: MakeSink, subscriber: Subscriber) -> None:
    """Announce a large device and publish twenty events; returns when all have arrived."""
    sink = make_sink(sink_port)
    sink.describe({"version": "1.0.0"}, ["desk"], DEVICE)
    sink.open()
    publish(sink, range(20))
    wait_until(lambda: len(subscriber.on("/events")) == 20)
    wait_until(lambda: not sink.waiting)
    assert sequence(subscriber.on("/events")) == list(range(20)) and sink.connected
    sink.close()
    wait_until(lambda: subscriber.on("pi5/availability")[-1].payload == b"offline")


def test_a_message_that_is_too_large_for_the_broker_is_left_out_and_logged_and_events_arrive(
    make_limited: MakeLimited, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    broker = make_limited("max_packet_size 3000")
    subscriber = make_subscriber(broker)
    deliver(broker.port, make_sink, subscriber)
    assert connections(broker) == 1 and not subscriber.on("/config")
    assert count_logged(log, "more than the broker's limit of 3000") == 1


def test_an_event_that_is_too_large_for_the_broker_is_counted_as_refused(
    make_limited: MakeLimited, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    broker = make_limited("max_packet_size 3000")
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port)
    sink.open()
    sink.publish(event(1, model_name="x" * 3000))
    sink.publish(event(2))
    wait_until(lambda: not sink.waiting)
    wait_until(lambda: sequence(subscriber.on("/events")) == [2])
    assert sink.refused == 1


def test_a_broker_of_qos_0_gets_the_events_with_qos_0(
    make_limited: MakeLimited, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    broker = make_limited("max_qos 0")
    subscriber = make_subscriber(broker)
    deliver(broker.port, make_sink, subscriber)
    assert {message.qos for message in subscriber.messages} == {0}
    assert connections(broker) == 1 and count_logged(log, "supports only QoS 0") == 1


def test_a_broker_without_retained_messages_gets_states_that_are_not_retained(
    make_limited: MakeLimited, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    broker = make_limited("retain_available false")
    subscriber = make_subscriber(broker)
    deliver(broker.port, make_sink, subscriber)
    assert connections(broker) == 1 and count_logged(log, "keeps no retained messages") == 1


def test_the_limits_of_one_connection_apply_to_the_next_last_will_without_another_refusal(
    make_limited: MakeLimited, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    broker = make_limited("max_qos 0")
    sink = make_sink(broker.port)
    sink.open()
    wait_until(lambda: sink.connected)
    refused = count_logged(log, "refuses the connection")
    broker.stop()
    wait_until(lambda: not sink.connected)
    broker.start()
    wait_until(lambda: sink.connected)
    assert count_logged(log, "refuses the connection") == refused == 1

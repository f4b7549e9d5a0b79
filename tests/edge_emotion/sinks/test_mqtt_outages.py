from __future__ import annotations

from pathlib import Path

import pytest
from support.broker import Broker, needs_mosquitto, wait_until
from support.mqtt_stage import (
    INFO,
    PROTOCOLS,
    ROOT,
    TIMING,
    MakeSink,
    MakeSubscriber,
    publish,
    replayed,
    said,
    sequence,
)
from support.samples import event, state

from edge_emotion.config.settings import MqttSettings
from edge_emotion.sinks.mqtt.sink import MqttSink, Timing
from edge_emotion.system.backoff import Backoff
from edge_emotion.wire.payloads import state_to_json

pytestmark = needs_mosquitto


@PROTOCOLS
def test_a_broker_that_is_down_at_the_start_gets_the_events_when_it_comes(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture, protocol: str
) -> None:
    subscriber = make_subscriber(broker)
    broker.stop()
    sink = make_sink(broker.port, protocol=protocol)
    sink.open()
    publish(sink, range(50))
    wait_until(lambda: said(log, "is not reachable"))
    assert not sink.connected and sink.failure is None and sink.waiting == 50
    broker.start()
    wait_until(lambda: len(subscriber.on("events")) >= 50)
    assert sequence(subscriber.on("events")) == list(range(50))
    assert replayed(subscriber.on("events")) == set(range(50))
    publish(sink, range(50, 51))
    wait_until(lambda: len(subscriber.on("events")) >= 51)
    assert 50 not in replayed(subscriber.on("events"))
    assert said(log, f"broker 127.0.0.1:{broker.port} is not reachable") == 1
    assert said(log, "connected to broker") == 1


@PROTOCOLS
def test_nothing_is_lost_when_the_broker_is_killed_and_comes_back(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture, protocol: str
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port, protocol=protocol)
    sink.open()
    wait_until(lambda: sink.connected)
    publish(sink, range(10))
    wait_until(lambda: len(subscriber.on("events")) == 10 and sink.waiting == 0)
    broker.freeze()
    publish(sink, range(10, 50))  # some reach its socket and are lost with it, the others wait
    broker.kill()
    wait_until(lambda: not sink.connected)
    publish(sink, range(50, 60))
    broker.start()
    wait_until(lambda: len(sequence(subscriber.on("events"))) == 60)
    wait_until(lambda: sink.waiting == 0)
    assert sequence(subscriber.on("events")) == list(range(60))
    assert replayed(subscriber.on("events")) == set(range(10, 60))
    assert said(log, "lost broker") == 1 and said(log, "connected to broker") == 2


def test_a_broker_that_forgot_everything_is_told_again(
    tmp_path: Path, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    broker = Broker(tmp_path, persistence=False).start()
    try:
        sink = make_sink(broker.port)
        sink.open()
        sink.camera_available("desk", True)
        sink.camera_state("desk", state())
        wait_until(lambda: sink.connected)
        broker.kill()
        wait_until(lambda: not sink.connected)
        broker.start()
        wait_until(lambda: sink.connected)
        late = make_subscriber(broker)
        wait_until(lambda: {message.topic.removeprefix(ROOT) for message in late.messages} == {
            "/info", "/availability", "/desk/availability", "/desk/state"
        })  # fmt: skip
        assert late.on("desk/availability")[-1].payload == b"online"
    finally:
        broker.stop()


def test_events_pass_a_short_standstill_of_the_broker_without_a_reconnect(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    subscriber = make_subscriber(broker)
    sink = make_sink(broker.port)
    sink.open()
    wait_until(lambda: sink.connected)
    broker.freeze()
    publish(sink, range(100))
    assert sink.waiting == 100
    broker.thaw()
    wait_until(lambda: len(subscriber.on("events")) == 100)
    assert sequence(subscriber.on("events")) == list(range(100))
    assert not replayed(subscriber.on("events"))


def test_nothing_is_lost_when_the_broker_stands_still_until_it_is_given_up(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    settings = MqttSettings(host="127.0.0.1", port=broker.port).model_copy(update={"keepalive": 1})
    sink = MqttSink(settings, "pi5", INFO, ["desk"], TIMING)
    try:
        sink.open()
        wait_until(lambda: sink.connected)
        broker.freeze()
        publish(sink, range(100))
        wait_until(lambda: said(log, "Keep alive timeout"))
        wait_until(lambda: said(log, "no answer within 0.8 s"))
        broker.thaw()
        wait_until(lambda: len(sequence(subscriber.on("events"))) == 100)
        assert sequence(subscriber.on("events")) == list(range(100))
        assert replayed(subscriber.on("events")) >= set(range(20, 100))
    finally:
        broker.thaw()
        sink.close()


def test_of_the_states_of_an_absence_only_the_newest_is_said(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    subscriber = make_subscriber(broker)
    broker.stop()
    sink = make_sink(broker.port)
    sink.open()
    for faces in (1, 2, 3):
        sink.camera_state("desk", state(faces))
        sink.camera_available("desk", faces != 2)
    broker.start()
    wait_until(lambda: sink.connected)
    sink.publish(event(1))
    wait_until(lambda: subscriber.on("events"))
    assert [message.payload for message in subscriber.on("desk/state")] == [state_to_json(state(3))]
    assert [message.payload for message in subscriber.on("desk/availability")] == [b"online"]


def test_a_full_outbox_drops_the_oldest_events_counts_them_and_says_so_once(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    broker.stop()
    sink = make_sink(broker.port, outbox=5)
    sink.open()
    publish(sink, range(8))
    assert (sink.waiting, sink.dropped) == (5, 3)
    assert said(log, "the oldest are dropped") == 1
    broker.start()
    wait_until(lambda: len(sequence(subscriber.on("events"))) == 5)
    assert sequence(subscriber.on("events")) == [3, 4, 5, 6, 7]


def test_close_tries_once_more_to_reach_a_broker_that_was_away(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    subscriber = make_subscriber(broker)
    broker.stop()
    sink = make_sink(broker.port, Timing(first_retry=300.0, longest_retry=300.0), drain_timeout=10.0)
    sink.open()
    publish(sink, range(3))
    wait_until(lambda: said(log, "is not reachable"))
    broker.start()
    sink.close()
    wait_until(lambda: len(subscriber.on("events")) == 3)
    assert sink.dropped == 0


def test_a_client_id_that_is_used_twice_is_guessed_and_the_connection_made_again(
    broker: Broker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(broker.port, client_id="twin")
    sink.open()
    wait_until(lambda: sink.connected)
    twin = make_sink(broker.port, client_id="twin")
    twin.open()
    wait_until(lambda: said(log, "is mqtt.client_id 'twin' used by another client too?"))
    twin.close()
    sink.publish(event(1))
    wait_until(lambda: sink.connected and sink.waiting == 0)


def test_retry_delays_double_up_to_a_limit_and_are_drawn_from_their_upper_half() -> None:
    low, high = Backoff(1.0, 8.0, lambda: 0.0), Backoff(1.0, 8.0, lambda: 1.0)
    assert [low.next() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    assert [high.next() for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 8.0]
    high.reset()
    assert high.next() == 1.0

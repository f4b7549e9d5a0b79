"""Brokers that refuse messages for the moment or for good, or acknowledge nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.broker import wait_until
from support.mqtt_stage import TIMING, MakeSink, count_logged, publish
from support.samples import event, state
from support.scripted_broker import ScriptedBroker

from edge_emotion.wire.payloads import event_from_json, state_to_json

MakeBroker = Callable[..., ScriptedBroker]


def sequence(broker: ScriptedBroker) -> list[int]:
    return [event_from_json(payload).seq for payload in broker.on("/events")]


@pytest.mark.parametrize("reason", [0x80, 0x83, 0x91, 0x97])
def test_an_event_that_is_refused_for_the_moment_is_published_again_with_all_that_follow(
    make_broker: MakeBroker, make_sink: MakeSink, log: pytest.LogCaptureFixture, reason: int
) -> None:
    refusing = [3, 3]

    def answer(topic: str, _number: int) -> int:
        if topic.endswith("/events") and refusing[0]:
            refusing[0] -= 1
            return reason
        return 0

    broker = make_broker(answer)
    sink = make_sink(broker.port)
    sink.open()
    wait_until(lambda: sink.connected)
    publish(sink, range(5))
    wait_until(lambda: not sink.waiting)
    assert sorted(sequence(broker)) == list(range(5)), "each was accepted once"
    assert event_from_json(broker.on("/events")[-1]).replayed
    assert (sink.refused, sink.dropped, broker.connections) == (0, 0, 1)
    assert count_logged(log, "does not accept messages for the moment") == 1


def test_a_broker_whose_quota_stays_exceeded_is_tried_with_growing_delays_and_nothing_is_lost(
    make_broker: MakeBroker, make_sink: MakeSink
) -> None:
    full = [True]
    broker = make_broker(lambda topic, _number: 0x97 if full[0] and topic.endswith("/events") else 0)
    sink = make_sink(broker.port, replace(TIMING, first_retry=0.05, longest_retry=0.1))
    sink.open()
    sink.publish(event(1))
    before = broker.published
    wait_until(lambda: broker.published >= before + 6)
    assert (sink.waiting, sink.refused, broker.connections) == (1, 0, 1)
    full[0] = False
    wait_until(lambda: not sink.waiting)
    assert sequence(broker) == [1]


def test_a_retained_state_that_is_refused_for_the_moment_is_published_again_in_its_newest_form(
    make_broker: MakeBroker, make_sink: MakeSink
) -> None:
    full = [True]
    broker = make_broker(lambda topic, _number: 0x97 if full[0] and topic.endswith("/state") else 0)
    sink = make_sink(broker.port)
    sink.open()
    sink.camera_state("desk", state(1))
    wait_until(lambda: broker.published > len(broker.accepted))
    sink.camera_state("desk", state(2))
    full[0] = False
    wait_until(lambda: broker.on("desk/state"))
    assert broker.on("desk/state") == [state_to_json(state(2))]


@pytest.mark.parametrize(
    ("reason", "name"), [(0x87, "Not authorized"), (0x90, "Topic name invalid"), (0x99, "Payload format invalid")]
)
def test_an_event_that_is_refused_for_good_is_counted_and_its_reason_is_named_once(
    make_broker: MakeBroker, make_sink: MakeSink, log: pytest.LogCaptureFixture, reason: int, name: str
) -> None:
    broker = make_broker(lambda topic, _number: reason if topic.endswith("desk/events") else 0)
    sink = make_sink(broker.port)
    sink.open()
    publish(sink, range(4))
    sink.publish(event(4, camera="hall"))
    wait_until(lambda: not sink.waiting)
    assert (sink.refused, sink.dropped, sequence(broker)) == (4, 0, [4])
    assert count_logged(log, f"refuses edge-emotion/pi5/desk/events ({name})") == count_logged(log, "refuses") == 1


def test_a_connection_without_acknowledgements_is_taken_for_dead_and_made_again(
    make_broker: MakeBroker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    silent = [True]
    broker = make_broker(lambda topic, _number: None if silent[0] and topic.endswith("/events") else 0)
    sink = make_sink(broker.port, replace(TIMING, acknowledge=0.3))
    sink.open()
    publish(sink, range(3))
    wait_until(lambda: count_logged(log, "no acknowledgement within 0.3 s"))
    silent[0] = False
    wait_until(lambda: not sink.waiting)
    assert sequence(broker) == [0, 1, 2] and broker.connections >= 2


def test_a_stop_while_messages_are_refused_ends_in_time_and_counts_what_is_lost(
    make_broker: MakeBroker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    broker = make_broker(lambda topic, _number: 0x97 if topic.endswith("/events") else 0)
    sink = make_sink(broker.port, replace(TIMING, first_retry=300.0, longest_retry=300.0), drain_timeout=0.2)
    sink.open()
    publish(sink, range(3))
    wait_until(lambda: count_logged(log, "does not accept messages for the moment"))
    sink.close()
    assert (sink.dropped, sink.refused) == (3, 0)


def test_a_topic_that_cannot_be_published_is_left_out_and_the_next_message_is_sent(
    make_broker: MakeBroker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    sink = make_sink(broker.port)
    sink.camera_available("#am", True)
    sink.open()
    sink.publish(event(1, camera="a+b"))
    sink.publish(event(2))
    wait_until(lambda: not sink.waiting)
    assert sequence(broker) == [2] and sink.refused == 1 and sink.connected
    assert count_logged(log, "cannot be published") >= 2

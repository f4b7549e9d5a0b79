from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import replace

import pytest
from support.broker import Broker, needs_mosquitto, wait_until
from support.mqtt_stage import PROTOCOLS, MakeSink, count_logged, publish
from support.samples import EVENT, event, state
from support.subscribers import (
    Collector,
    client_of,
    finish,
    items_until,
    numbers,
    publish_events,
    publish_raw,
    start_python,
)

from edge_emotion.client import AvailabilityReceived, CameraStatus, EventReceived, StateReceived, Totals
from edge_emotion.client.network_thread import SubscriberThread
from edge_emotion.errors import SinkError
from edge_emotion.wire.payloads import event_from_json, event_to_json, state_from_json, state_to_json

pytestmark = needs_mosquitto


@PROTOCOLS
def test_events_of_the_sink_arrive_as_values_in_order(broker: Broker, make_sink: MakeSink, protocol: str) -> None:
    with client_of(broker, settings={"protocol": protocol}) as client:
        sink = make_sink(broker.port, protocol=protocol)
        sink.open()
        publish(sink, range(1, 101))
        taken = []
        for each in client.events(20):
            taken.append(each)
            if len(taken) == 100:
                break
    assert [replace(each, replayed=False) for each in taken] == [
        event_from_json(event_to_json(event(number))) for number in range(1, 101)
    ]
    assert client.totals.events == 100 and client.totals.gaps == 0


def test_an_event_that_was_dropped_on_purpose_is_a_gap_until_it_comes_late(broker: Broker, make_sink: MakeSink) -> None:
    with client_of(broker) as client:
        sink = make_sink(broker.port)
        sink.open()
        wait_until(lambda: sink.connected)
        publish(sink, range(1, 6))
        assert numbers(client, 5) == [1, 2, 3, 4, 5]
        publish_events(broker, [event(8), event(7), event(7), event(8)])
        publish(sink, range(9, 10))
        items = items_until(client, lambda item: isinstance(item, EventReceived) and item.event.seq == 9)
    arrivals = [(item.event.seq, item.arrival, item.missed) for item in items if isinstance(item, EventReceived)]
    assert arrivals == [(8, "gap", 2), (7, "late", 0), (7, "duplicate", 0), (8, "duplicate", 0), (9, "next", 0)]
    assert client.totals == Totals(events=8, gaps=1, missed=1, late=1, duplicates=2)
    assert client.node_totals == {"pi5": client.totals}


def test_events_that_waited_for_the_broker_are_counted_as_replayed(broker: Broker, make_sink: MakeSink) -> None:
    broker.stop()
    sink = make_sink(broker.port)
    sink.open()
    publish(sink, range(1, 4))
    time.sleep(0.1)
    broker.start()
    wait_until(lambda: not sink.waiting)
    with client_of(broker) as client:
        sink.close()
        publish_events(broker, [event(3, replayed=True), event(4)])
        assert numbers(client, 2) == [3, 4]
    assert client.totals.replayed == 1


def test_a_duplicate_is_given_once_unless_it_is_wanted(broker: Broker) -> None:
    with client_of(broker) as once, client_of(broker) as twice:
        publish_events(broker, [event(1), event(1), event(2)])
        assert numbers(once, 2) == [1, 2]
        assert numbers(twice, 3, duplicates=True) == [1, 1, 2]


def test_a_node_that_counts_anew_is_recognised(broker: Broker) -> None:
    with client_of(broker) as client:
        publish_events(broker, [event(4711), event(1), event(2)])
        items = items_until(client, lambda item: isinstance(item, EventReceived) and item.event.seq == 2)
    assert [item.arrival for item in items if isinstance(item, EventReceived)] == ["first", "restart", "next"]


def test_the_latest_state_and_availability_of_each_camera_is_known(broker: Broker, make_sink: MakeSink) -> None:
    sink = make_sink(broker.port)
    sink.open()
    sink.camera_available("desk", True)
    sink.camera_state("desk", state())
    sink.publish(event(1))
    wait_until(lambda: sink.connected and not sink.waiting)
    publish_events(broker, [])
    with client_of(broker) as client:
        items_until(client, lambda item: isinstance(item, StateReceived))
        while client.receive(0.5):
            pass
        assert client.nodes == {"pi5": True}
        expected = state_from_json(state_to_json(state()))
        assert client.cameras == {("pi5", "desk"): CameraStatus(online=True, state=expected)}
        assert client.is_online("pi5", "desk") and not client.is_online("pi5", "hall")
        sink.close()
        items_until(client, lambda item: isinstance(item, AvailabilityReceived) and item.camera is None)
        assert not client.is_online("pi5", "desk")
        publish_raw(broker, ("desk/state", b""), ("desk/availability", b""), ("availability", b""), retain=True)
        items_until(client, lambda item: isinstance(item, AvailabilityReceived) and item.camera is None)
        assert client.nodes == {} and client.cameras == {("pi5", "desk"): CameraStatus()}


def test_only_the_wanted_node_and_camera_are_given_and_no_gap_is_invented(broker: Broker) -> None:
    desk, hall = event(1), event(2, camera="hall")
    with client_of(broker, camera="desk") as one_camera, client_of(broker, node="jetson") as other_node:
        publish_raw(broker, ("hall/availability", b"online"), ("hall/state", state_to_json(state())))
        publish_events(broker, [desk, hall, event(3)])
        items = items_until(one_camera, lambda item: isinstance(item, EventReceived) and item.event.seq == 3)
        assert [item.event.seq for item in items if isinstance(item, EventReceived)] == [1, 3]
        assert len(items) == 2 and one_camera.totals.gaps == 0 and one_camera.totals.events == 3
        assert other_node.receive(0.3) is None


def test_events_missing_before_a_filtered_event_are_counted_at_the_next_one_that_is_given(broker: Broker) -> None:
    with client_of(broker, camera="desk") as client:
        publish_events(broker, [event(1), event(4, camera="hall"), event(6), event(7)])
        items = items_until(client, lambda item: isinstance(item, EventReceived) and item.event.seq == 7)
    assert [item.missed for item in items if isinstance(item, EventReceived)] == [0, 3, 0]
    assert client.totals.missed == 3


def test_iterating_ends_after_its_timeout(broker: Broker) -> None:
    with client_of(broker) as client:
        publish_events(broker, [event(1)])
        assert numbers(client, 2, timeout=0.5) == [1]
        assert list(client.items(0.1)) == []


def test_states_do_not_prolong_the_wait_for_events(broker: Broker) -> None:
    stop = threading.Event()

    def chatter() -> None:
        while not stop.is_set():
            publish_raw(broker, ("desk/state", state_to_json(state())))

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        with client_of(broker) as client:
            ended = threading.Timer(15, client.close)
            ended.start()
            assert list(client.events(0.5)) == []
            assert client.connected, "it ended by itself"
            ended.cancel()
    finally:
        stop.set()
        thread.join()


def test_closing_ends_an_iteration_in_another_thread(broker: Broker) -> None:
    client = client_of(broker)
    client.connect()
    collector = Collector(client)
    publish_events(broker, [event(1)])
    wait_until(lambda: collector.seqs == [1])
    collector.join()
    client.close()
    assert client.receive(5) is None


def test_what_is_not_of_the_contract_is_counted_and_skipped_with_a_warning(
    broker: Broker, log: pytest.LogCaptureFixture
) -> None:
    plain = json.loads(event_to_json(EVENT))
    newer = json.dumps({**plain, "seq": 1, "gaze": [0.1, 0.2]}).encode()
    foreign = json.dumps({**plain, "schema": 2}).encode()
    with client_of(broker) as client:
        publish_raw(broker, *(("desk/events", each) for each in (b"\x00\xff", b"{", foreign)), ("hall/events", foreign))
        publish_raw(broker, ("availability", b"maybe"), ("desk/state", b"[]"), ("desk/events", newer))
        assert numbers(client, 1) == [1]
    assert client.not_understood == 6 and client.totals.gaps == 0
    skipped = [text for text in log.messages if "skipped" in text]
    assert len(skipped) == 5, "one for each topic and kind of fault"
    assert any("schema 2, this subscriber supports 1" in text for text in skipped)
    assert all("\n" not in text and len(text) < 500 for text in skipped)


def test_an_event_of_an_absurd_time_is_skipped_and_not_sent_again_to_a_named_session(broker: Broker) -> None:
    payload = event_to_json(event(1)).replace(b'"ts":"2026-', b'"ts":"9999-')
    with client_of(broker, session="reports") as client:
        publish_raw(broker, ("desk/events", payload))
        publish_events(broker, [event(2)])
        assert numbers(client, 1) == [2] and client.not_understood == 1
    with client_of(broker, session="reports") as later:
        assert numbers(later, 1, timeout=0.3) == [] and later.not_understood == 0


def test_workers_of_a_group_share_the_events_and_know_that_gaps_mean_nothing(
    broker: Broker, log: pytest.LogCaptureFixture
) -> None:
    clients = [client_of(broker, group="workers") for _ in range(2)]
    for client in clients:
        client.connect()
    workers = [Collector(client) for client in clients]
    publish_raw(broker, ("availability", b"online"))
    publish_events(broker, map(event, range(40)))
    wait_until(lambda: sum(len(worker.seqs) for worker in workers) == 40)
    wait_until(lambda: all(client.nodes == {"pi5": True} for client in clients))
    for worker in workers:
        worker.join()
    assert sorted(workers[0].seqs + workers[1].seqs) == list(range(40)) and workers[0].seqs and workers[1].seqs
    assert not any(client.checks_gaps or client.totals.gaps or client.positions for client in clients)
    assert clients[0].totals.events + clients[1].totals.events == 40
    assert count_logged(log, "gap detection is off") == 2


def test_the_example_prints_events_and_what_was_missed(broker: Broker) -> None:
    process = start_python(broker, "examples/subscribe_events.py")
    publish_events(broker, [event(1), event(3, type="change", emotion="anger", previous="happiness")])
    lines = [process.stdout.readline(), process.stdout.readline()] if process.stdout else []
    code, out, err = finish(process)
    assert [line.split(" ", 1)[1] for line in lines] == [
        "pi5/desk: start happiness 93%\n",
        "pi5/desk: change anger 93%\n",
    ]
    assert (code, out, err) == (0, "2 events, 1 missed\n", "")


def test_the_example_of_a_group_shares_the_work(broker: Broker) -> None:
    process = start_python(broker, "examples/shared_subscription.py", subscriptions=2)
    publish_events(broker, map(event, range(10)))
    assert process.stdout is not None
    lines = sorted(process.stdout.readline() for _ in range(11))
    code, out, err = finish(process, signal.SIGINT)
    assert (code, err) == (0, "")
    assert lines[0] == "ready\n"
    assert sorted(int(line.split("seq ")[1].rstrip(")\n")) for line in lines[1:]) == list(range(10))
    counts = [int(part.rsplit(" ", 1)[1]) for part in out.strip().split(", ")]
    assert sum(counts) == 10 and all(counts)


def test_a_network_thread_that_ends_is_an_error_of_its_user_and_no_wait_for_ever(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*_: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(SubscriberThread, "_use", planted)
    with client_of(broker) as client:
        for _ in range(2):
            with pytest.raises(SinkError, match="the network thread has ended: ZeroDivisionError: planted"):
                client.receive(20)
        assert not client.connected

"""What the client does when the broker, the network or its own program goes away."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from support.broker import Broker, needs_mosquitto, wait_until
from support.mqtt_stage import ROOT, TIMING, said
from support.samples import event
from support.subscribers import client_of, numbers, publish_events

from edge_emotion.client import Client, broker_settings
from edge_emotion.errors import SinkError
from edge_emotion.wire.payloads import event_to_json


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "edge_emotion.client")
    return caplog


@needs_mosquitto
def test_a_killed_broker_is_found_again(broker: Broker, log: pytest.LogCaptureFixture) -> None:
    with client_of(broker) as client:
        for turn in (1, 2):
            broker.kill()
            wait_until(lambda: not client.connected)
            broker.start()
            wait_until(lambda: client.connected)
            publish_events(broker, [event(turn)])
            assert numbers(client, 1) == [turn]
    assert said(log, "lost broker") == 2 and said(log, "connected to broker") == 2


@needs_mosquitto
def test_what_a_broker_took_in_before_the_client_was_back_is_made_up_for(broker: Broker) -> None:
    slow = replace(TIMING, first_retry=2.0, longest_retry=2.0)
    with client_of(broker, timing=slow) as client:
        publish_events(broker, [event(1)])
        assert numbers(client, 1) == [1]
        broker.stop()  # a killed one may forget the session, if it has not saved it yet
        wait_until(lambda: not client.connected)
        broker.start()
        publish_events(broker, [event(2)])
        assert not client.connected
        assert numbers(client, 1) == [2]


@needs_mosquitto
def test_a_frozen_broker_is_noticed_and_a_close_does_not_wait_for_it(broker: Broker) -> None:
    client = client_of(broker)
    client.connect()
    broker.freeze()
    ended = threading.Thread(target=client.close)
    ended.start()
    ended.join(10)
    broker.thaw()
    assert not ended.is_alive()


@needs_mosquitto
def test_a_named_session_gets_what_came_while_the_program_was_away(broker: Broker) -> None:
    with client_of(broker, session="reports") as client:
        publish_events(broker, [event(1)])
        assert numbers(client, 1) == [1]
    publish_events(broker, map(event, range(2, 200)))
    broker.stop()
    broker.start()
    with client_of(broker, session="reports", positions=client.positions) as later:
        assert numbers(later, 198) == list(range(2, 200))
        assert numbers(later, 1, timeout=0.3) == []
    assert later.totals.gaps == 0 and later.totals.duplicates == 0


@needs_mosquitto
def test_an_event_whose_handling_failed_comes_again_to_a_named_session(broker: Broker) -> None:
    with client_of(broker, session="reports"):
        publish_events(broker, map(event, range(1, 6)))
    with suppress(ZeroDivisionError), client_of(broker, session="reports") as client:
        for each in client.events(20):
            if each.seq == 3:
                raise ZeroDivisionError
    with client_of(broker, session="reports") as later:
        assert numbers(later, 3) == [3, 4, 5]
    with client_of(broker, session="reports") as nothing_left:
        assert numbers(nothing_left, 1, timeout=0.3) == []


@needs_mosquitto
def test_a_session_without_name_leaves_nothing_behind(broker: Broker) -> None:
    with client_of(broker):
        pass
    publish_events(broker, map(event, range(3)))
    with client_of(broker) as later:
        assert numbers(later, 1, timeout=0.3) == []
    assert "disconnected" in broker.log


@needs_mosquitto
def test_events_in_hand_while_the_connection_breaks_are_marked_when_they_come_again(broker: Broker) -> None:
    with client_of(broker, session="reports") as client:
        publish_events(broker, map(event, range(1, 11)))
        assert numbers(client, 4) == [1, 2, 3, 4]
        wait_until(lambda: client._link._inbox.qsize() == 6)
        broker.stop()
        wait_until(lambda: not client.connected)
        broker.start()
        publish_events(broker, [event(11)])
        assert numbers(client, 7) == [5, 6, 7, 8, 9, 10, 11]
    assert client.totals.missed == 0
    assert client.totals.duplicates >= 7, "4 to 10 were not acknowledged"


class RudeBroker:
    """Speaks MQTT 3.1.1 to one client after the other: greets, answers SUBSCRIBE, and then sends what it is told to."""

    def __init__(self, *scripts: bytes, granted: int = 1) -> None:
        self._scripts, self._granted = scripts, granted
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()

    def _run(self) -> None:
        with suppress(OSError):
            for script in self._scripts:
                self._talk(self._server.accept()[0], script)

    def _talk(self, line: socket.socket, script: bytes) -> None:
        line.settimeout(20)
        with line, suppress(OSError):
            line.recv(4096)
            line.sendall(b"\x20\x02\x00\x00")
            subscribe = line.recv(4096)
            line.sendall(b"\x90\x06" + subscribe[2:4] + bytes([self._granted] * 4))
            line.sendall(script)
            while line.recv(4096):
                pass


@pytest.fixture
def rude() -> Iterator[list[RudeBroker]]:
    brokers: list[RudeBroker] = []
    yield brokers
    for each in brokers:
        each.close()


def packet(seq: int) -> bytes:
    """PUBLISH with QoS 0."""
    topic, payload = f"{ROOT}/desk/events".encode(), event_to_json(event(seq))
    length = 2 + len(topic) + len(payload)
    return b"\x30" + bytes([length % 128 | 128, length // 128]) + len(topic).to_bytes(2, "big") + topic + payload


def settings_of(broker: RudeBroker) -> Client:
    return Client(broker_settings("127.0.0.1", broker.port, protocol="3.1.1"), timing=TIMING)


def test_bytes_that_are_no_mqtt_end_the_connection_and_not_the_client(
    rude: list[RudeBroker], log: pytest.LogCaptureFixture
) -> None:
    malformed = b"\x30\x05\x00\xff\xff\xff\xff"  # a topic longer than its packet
    rude.append(RudeBroker(packet(1) + malformed, b"\xf0\x00", packet(2)))
    with settings_of(rude[0]) as client:
        assert numbers(client, 2) == [1, 2]
    assert said(log, "lost broker") >= 1


def test_a_broker_that_refuses_the_subscription_is_reported(rude: list[RudeBroker]) -> None:
    rude.append(RudeBroker(b"", granted=128))
    with pytest.raises(SinkError, match=r"refused the subscription.*access rules"):
        settings_of(rude[0]).connect()


def test_a_broker_that_answers_nothing_is_given_up_after_a_while() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = broker_settings("127.0.0.1", int(mute.getsockname()[1]))
        with pytest.raises(SinkError, match=r"no answer within .*3\.1\.1"):
            Client(settings, timing=TIMING).connect()

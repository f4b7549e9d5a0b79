from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.broker import Broker, free_port, needs_mosquitto, password_access, wait_until
from support.mqtt_stage import (
    INFO,
    PROTOCOLS,
    TIMING,
    MakeSink,
    MakeSubscriber,
    count_logged,
    network_threads,
    publish,
)
from support.samples import event
from support.scripted_broker import ScriptedBroker

from edge_emotion.errors import ConfigError
from edge_emotion.sinks.mqtt.sink import Timing

pytestmark = needs_mosquitto


@PROTOCOLS
def test_refused_credentials_are_reported_once_with_what_to_do_and_events_wait(
    tmp_path: Path, make_sink: MakeSink, log: pytest.LogCaptureFixture, protocol: str
) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "edge", "right-secret")).start()
    timing = replace(TIMING, first_login_retry=0.02, longest_login_retry=0.02)
    try:
        login = {"username": "edge", "password": "wrong-secret", "protocol": protocol}
        sink = make_sink(broker.port, timing, **login, outbox=2, drain_timeout=0.2)
        sink.open()
        wait_until(lambda: broker.log.count("New connection") > 3)
        assert sink.failure is not None and not sink.connected and network_threads()
        for part in (f"127.0.0.1:{broker.port}", "'edge'", "mqtt.password", "trying again", "reload"):
            assert part in sink.failure
        publish(sink, range(3))
        assert (sink.waiting, sink.dropped) == (2, 1)
        sink.close()
        assert count_logged(log, "refuses user 'edge'") == 1 and count_logged(log, "2 events were not delivered") == 1
        assert "wrong-secret" not in log.text + repr(sink) + repr(vars(sink))
    finally:
        broker.stop()


@PROTOCOLS
def test_a_login_that_the_broker_refuses_at_first_is_tried_again_until_it_is_accepted(
    tmp_path: Path, make_sink: MakeSink, log: pytest.LogCaptureFixture, protocol: str
) -> None:
    access = password_access(tmp_path, "somebody-else", "x")
    broker = Broker(tmp_path, access).start()
    timing = replace(TIMING, first_login_retry=0.2, longest_login_retry=0.4)
    try:
        sink = make_sink(broker.port, timing, username="edge", password="right-secret", protocol=protocol)
        sink.open()
        publish(sink, range(3))
        wait_until(lambda: sink.failure)
        password_access(tmp_path, "edge", "right-secret")
        broker.reload()
        wait_until(lambda: sink.connected and not sink.waiting)
        assert sink.failure is None
        assert count_logged(log, "refuses user") == count_logged(log, "connected to broker") == 1
    finally:
        broker.stop()


def test_after_refused_credentials_only_a_reload_ends_the_long_delay(
    tmp_path: Path, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "edge", "right-secret")).start()
    secret = tmp_path / "secret"
    secret.write_text("wrong-secret")
    timing = replace(TIMING, first_login_retry=300.0, longest_login_retry=300.0)
    try:
        sink = make_sink(broker.port, timing, username="edge", password_file=secret)
        sink.open()
        wait_until(lambda: sink.failure)
        wait_until(lambda: broker.log.count("not authorised") == 1)
        secret.write_text("right-secret")
        time.sleep(0.5)  # ten of the delays after other losses
        assert broker.log.count("New client") + broker.log.count("not authorised") == 1 and not sink.connected
        sink.describe(INFO, ["desk"], None)
        wait_until(lambda: sink.connected)
    finally:
        broker.stop()


def test_a_stop_tries_once_at_most_where_the_credentials_were_refused(tmp_path: Path, make_sink: MakeSink) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "edge", "right-secret")).start()
    try:
        sink = make_sink(broker.port, username="edge", password="wrong-secret", drain_timeout=60.0)
        sink.open()
        publish(sink, range(3))
        wait_until(lambda: sink.failure)
        attempts = broker.log.count("New connection")
        sink.close()
        assert broker.log.count("New connection") <= attempts + 1
        assert not network_threads()
    finally:
        broker.stop()


def test_the_right_password_from_a_file_is_accepted(
    tmp_path: Path, make_sink: MakeSink, make_subscriber: MakeSubscriber
) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "edge", "right-secret")).start()
    (tmp_path / "secret").write_text("right-secret\n", encoding="utf-8")
    try:
        subscriber = make_subscriber(broker, "edge", "right-secret")
        sink = make_sink(broker.port, username="edge", password_file=tmp_path / "secret")
        sink.open()
        sink.publish(event(1))
        wait_until(lambda: subscriber.on("events"))
    finally:
        broker.stop()


def test_an_event_that_the_broker_refuses_is_counted_logged_once_and_not_sent_again(
    tmp_path: Path, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    rules = ["topic write edge-emotion/pi5/availability", "topic write edge-emotion/pi5/hall/#"]
    broker = Broker(tmp_path, password_access(tmp_path, "edge", "secret", rules)).start()
    try:
        sink = make_sink(broker.port, username="edge", password="secret")
        sink.open()
        publish(sink, range(30))
        sink.publish(event(30, camera="hall"))
        wait_until(lambda: sink.waiting == 0)
        assert (sink.refused, sink.connected, sink.failure) == (30, True, None)
        assert count_logged(log, "Not authorized") == 1
    finally:
        broker.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x03\x00\x84\x00"])
def test_a_peer_that_does_not_answer_as_a_broker_is_logged_once_and_tried_again(
    make_sink: MakeSink, log: pytest.LogCaptureFixture, answer: bytes | None, protocol: str
) -> None:
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            while len(connections) < 3:
                peer, _ = server.accept()
                connections.append(peer)
                if answer is not None:
                    peer.recv(4096)
                    peer.sendall(answer)
                    peer.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        timing = Timing(answer=0.2, first_retry=0.01, longest_retry=0.02)
        sink = make_sink(server.getsockname()[1], timing, protocol=protocol)
        sink.open()
        thread.join(20)
        assert len(connections) == 3 and sink.failure is None and network_threads()
        sink.close()
    for peer in connections:
        peer.close()
    warnings = [record.getMessage() for record in log.records if "trying again" in record.getMessage()]
    assert len(warnings) <= 2
    assert any('mqtt.protocol: "3.1.1"' in text for text in warnings) == (protocol == "5")


def test_an_unreadable_password_file_is_refused_at_open(tmp_path: Path, make_sink: MakeSink) -> None:
    sink = make_sink(free_port(), username="edge", password_file=tmp_path / "missing")
    with pytest.raises(ConfigError, match="password_file"):
        sink.open()


@pytest.mark.parametrize("name", ["client_id", "username", "password"])
@pytest.mark.parametrize(("text", "fault"), [("x" * 65_536, "has 65536 bytes"), ("s3cret\0", "contains a NUL")])
def test_a_string_that_mqtt_cannot_transmit_is_refused_at_open(
    make_sink: MakeSink, name: str, text: str, fault: str
) -> None:
    sink = make_sink(free_port(), **{"username": "edge", name: text})
    for act in (sink.check, sink.open):
        with pytest.raises(ConfigError, match=f"mqtt.{name} {fault}") as caught:
            act()
        assert "s3cret" not in str(caught.value) and len(str(caught.value)) < 200
    assert not network_threads()


def test_the_largest_strings_that_mqtt_can_transmit_are_accepted(make_sink: MakeSink) -> None:
    make_sink(free_port(), username="x" * 65_535, password="x" * 65_535).check()


def test_an_impossible_host_name_is_logged_not_raised(make_sink: MakeSink, log: pytest.LogCaptureFixture) -> None:
    sink = make_sink(1883, host="broker..home")
    sink.open()
    wait_until(lambda: count_logged(log, "broker..home:1883 is not reachable"))
    assert sink.failure is None


def test_random_answers_never_end_the_network_thread(
    make_broker: Callable[..., ScriptedBroker], make_sink: MakeSink
) -> None:
    draw = random.Random(16)
    kinds = bytes(range(0x10, 0x100))
    answers = [
        bytes([draw.choice(kinds), length, *draw.randbytes(length)])
        for length in (draw.randrange(40) for _ in range(40))
    ]
    for answer in answers:
        broker = make_broker(extra=answer)
        sink = make_sink(broker.port, drain_timeout=0.0)
        sink.open()
        sink.publish(event(1))
        wait_until(lambda sink=sink, broker=broker: not sink.waiting or broker.connections >= 3)
        assert network_threads(), answer
        sink.close()

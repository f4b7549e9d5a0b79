from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from support.broker import Broker, free_port, needs_mosquitto, password_access, wait_until
from support.mqtt_stage import (
    PROTOCOLS,
    MakeSink,
    MakeSubscriber,
    network_threads,
    publish,
    said,
)
from support.samples import event

from edge_emotion.errors import ConfigError
from edge_emotion.sinks.mqtt.sink import Timing

pytestmark = needs_mosquitto


@PROTOCOLS
def test_refused_credentials_end_the_attempts_and_say_what_to_do(
    tmp_path: Path, make_sink: MakeSink, log: pytest.LogCaptureFixture, protocol: str
) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "edge", "right-secret")).start()
    try:
        sink = make_sink(broker.port, username="edge", password="wrong-secret", protocol=protocol, outbox=2)
        sink.open()
        wait_until(lambda: sink.failure)
        wait_until(lambda: not network_threads())
        assert sink.failure is not None and not sink.connected
        for part in (f"127.0.0.1:{broker.port}", "'edge'", "mqtt.password", "restart"):
            assert part in sink.failure
        publish(sink, range(3))
        assert (sink.waiting, sink.dropped) == (2, 1)
        sink.close()
        assert said(log, "refused user 'edge'") == 1 and said(log, "2 events were not delivered") == 1
        assert "wrong-secret" not in log.text + repr(sink) + repr(vars(sink))
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


def test_an_event_that_the_broker_refuses_is_counted_said_once_and_not_sent_for_ever(
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
        assert said(log, "Not authorized") == 1
    finally:
        broker.stop()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("answer", [None, b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x03\x00\x84\x00"])
def test_a_peer_that_does_not_answer_as_a_broker_is_said_once_and_tried_again(
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


def test_a_host_name_that_cannot_be_one_is_said_not_raised(make_sink: MakeSink, log: pytest.LogCaptureFixture) -> None:
    sink = make_sink(1883, host="broker..home")
    sink.open()
    wait_until(lambda: said(log, "broker..home:1883 is not reachable"))
    assert sink.failure is None

"""MQTT over websockets with mosquitto: the sink, the client, the commands, and peers that are no such broker."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.broker import Authority, Broker, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import INFO, TIMING, publish
from support.subscribers import items_until

from edge_emotion.cli.broker_options import broker_of
from edge_emotion.cli.main import main
from edge_emotion.client import AvailabilityReceived, Client, EventReceived, TlsSettings, broker_settings
from edge_emotion.config.settings import MqttSettings
from edge_emotion.doctor.broker import broker as examine_broker
from edge_emotion.errors import SinkError
from edge_emotion.mqtt import bounded_client as module
from edge_emotion.mqtt.connection import Connection
from edge_emotion.mqtt.handshake import ConnectFailure, establish, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.sinks.mqtt.sink import MqttSink

SHORT = Timing(connect=1.0, answer=1.0)


class WebBroker(Broker):
    """A broker with listeners for ws:// and wss:// as well."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.web_port, self.secure_port = free_port(), free_port()
        certificate, key = authority.issue("web")
        lines = [f"listener {self.web_port} 127.0.0.1", "protocol websockets"]
        lines += [f"listener {self.secure_port} 127.0.0.1", "protocol websockets"]
        lines += [f"certfile {certificate}", f"keyfile {key}"]
        super().__init__(folder, limits=lines)

    def start(self) -> WebBroker:
        super().start()
        for port in (self.web_port, self.secure_port):
            wait_until(lambda port=port: listens(port))
        return self


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ws") / "authority")


@pytest.fixture
def web(tmp_path: Path, authority: Authority) -> Iterator[WebBroker]:
    broker = WebBroker(tmp_path, authority)
    broker.start()
    yield broker
    broker.stop()


def settings(port: int, **others: Any) -> MqttSettings:
    return MqttSettings.model_validate({"host": "localhost", "port": port, "transport": "websockets", **others})


def events_until(client: Client, last: int) -> list[int]:
    """Numbers of the events up to this one."""
    items = items_until(client, lambda item: isinstance(item, EventReceived) and item.event.seq == last)
    return [item.event.seq for item in items if isinstance(item, EventReceived)]


@needs_mosquitto
@pytest.mark.parametrize(("secure", "protocol"), [(False, "3.1.1"), (True, "5")], ids=["ws", "wss"])
def test_events_cross_websockets_in_both_directions_and_survive_a_lost_broker(
    web: WebBroker, authority: Authority, secure: bool, protocol: str
) -> None:
    tls = TlsSettings(ca=authority.certificate) if secure else None
    chosen = settings(web.secure_port if secure else web.web_port, protocol=protocol, tls=tls)
    sink, asked = MqttSink(chosen, "pi5", INFO, ["desk"], TIMING), []
    sink.listen(lambda topic, _payload: asked.append(topic))
    with Client(chosen, timing=TIMING) as client:
        sink.open()
        publish(sink, range(1, 201))
        taken = events_until(client, 200)
        web.kill()
        web.start()
        items_until(client, lambda item: isinstance(item, AvailabilityReceived))  # a killed broker forgets sessions
        publish(sink, range(201, 221))
        taken += events_until(client, 220)
        with closing(Connection(chosen, "asker", None)) as asker, closing(Wakeup()) as wakeup:
            assert establish(asker, wakeup, SHORT) is None
            asker.publish("edge-emotion/pi5/request/info", b"", retain=False)
            assert wait_for(asker, wakeup, 5, lambda: bool(asker.take_acknowledged()))
        wait_until(lambda: asked == ["edge-emotion/pi5/request/info"])
    sink.close()
    assert sorted(set(taken)) == list(range(1, 221)) and taken[:200] == list(range(1, 201))
    assert sink.dropped == sink.waiting == 0


@needs_mosquitto
def test_the_commands_and_the_doctor_take_such_addresses(
    web: WebBroker, authority: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, secure = f"ws://127.0.0.1:{web.web_port}/mqtt", f"wss://localhost:{web.secure_port}"
    output = ["--duration", "0.2", "--output", str(tmp_path / "events")]
    assert main(["subscribe", "--mqtt", plain, *output]) == 0
    assert main(["subscribe", "--mqtt", secure, "--ca", str(authority.certificate), *output]) == 0
    assert main(["subscribe", "--mqtt", secure, *output]) == 6
    assert "no certificate that is trusted for 'localhost'" in capsys.readouterr().err
    assert examine_broker(settings(web.web_port), "pi5", SHORT).status == "ok"
    wrong = examine_broker(settings(web.port), "pi5", SHORT)
    assert wrong.status == "fail" and "does not accept MQTT over websockets on /mqtt" in wrong.detail
    assert "mqtt.transport" in wrong.fix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ws://b", ("b", 80, "websockets", "/mqtt", False)),
        ("wss://b", ("b", 443, "websockets", "/mqtt", True)),
        ("wss://b.example:8084/a/b?c=d", ("b.example", 8084, "websockets", "/a/b?c=d", True)),
        ("ws://[::1]:9001/", ("::1", 9001, "websockets", "/", False)),
        ("mqtt://b", ("b", 1883, "tcp", "/mqtt", False)),
        ("mqtts://b:8884", ("b", 8884, "tcp", "/mqtt", True)),
        ("b:1884", ("b", 1884, "tcp", "/mqtt", False)),
        ("::1", ("::1", 1883, "tcp", "/mqtt", False)),
    ],
)
def test_an_address_is_read_into_the_settings(text: str, expected: tuple[object, ...]) -> None:
    read = MqttSettings.model_validate(broker_of(text))
    assert (read.host, read.effective_port, read.transport, read.path, read.tls is not None) == expected


def test_a_scheme_in_the_host_is_refused_with_the_setting_for_websockets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--source", "0", "--set", "mqtt.host=ws://broker:9001/mqtt"]) == 2
    assert "for ws://, set mqtt.transport: websockets, mqtt.path" in capsys.readouterr().err
    assert main(["check-config", "--source", "0", "--mqtt", "b", "--set", "mqtt.path=a b"]) == 2
    assert broker_settings("b", transport="websockets", path="/x").path == "/x"


class Peer:
    """A server that answers each connection with these bytes, and then those of ``more`` for ever."""

    def __init__(self, answer: bytes, more: bytes = b"") -> None:
        self._answer, self._more = answer, more
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                peer, _ = self._server.accept()
                with peer:
                    request = peer.recv(65_536).decode()
                    key = request.split("Sec-WebSocket-Key: ")[1].split("\r\n")[0] if "Sec-" in request else ""
                    peer.sendall(self._answer.replace(b"KEY", _accept(key)))
                    while self._more:
                        peer.sendall(self._more)
        except OSError:
            return

    def close(self) -> None:
        self._server.close()


def _accept(key: str) -> bytes:
    import base64
    import hashlib

    return base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())


UPGRADE = b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: KEY\r\n\r\n"


def failure_of(port: int) -> tuple[ConnectFailure | None, Connection]:
    connection = Connection(settings(port), "asker", None)
    with closing(connection), closing(Wakeup()) as wakeup:
        return establish(connection, wakeup, SHORT), connection


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nSec-WebSocket-Accept:none\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \xff\xfe\r\n\r\n",
        b"\xff\xfe\n\r\n",
    ],
)
def test_a_peer_that_is_no_websocket_is_reported_in_one_line(answer: bytes) -> None:
    peer = Peer(answer)
    failure, _ = failure_of(peer.port)
    assert failure is not None and failure.cause == "no answer", failure
    assert failure.reason == "does not accept MQTT over websockets on /mqtt"
    peer.close()


def test_a_frame_that_is_too_long_ends_the_connection_and_not_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FRAME", 100_000)
    frame = b"\x82\x7f" + struct.pack("!Q", 1 << 30)
    publication = b"\x30\xff\xff\xff\x7f\x00\x01a\x00"  # 256 MiB
    peer = Peer(UPGRADE + frame + b"\x20\x03\x00\x00\x00" + publication, b"x" * 65_536)
    connection = Connection(settings(peer.port), "asker", None)
    with closing(connection), closing(Wakeup()) as wakeup:
        assert establish(connection, wakeup, SHORT) is None
        wait_for(connection, wakeup, 10, lambda: False)
        assert connection.ended == "its answer is not MQTT: a websocket frame above 100000 bytes"
    peer.close()


@pytest.mark.parametrize(
    "data", [b"", b"\x82\x05hello", b"\x88\x00", b"\x89\x00\x8a\x00", b"\x81\x01x", b"\x82\xff" * 9]
)
def test_frames_that_are_no_mqtt_end_the_attempt(data: bytes) -> None:
    peer = Peer(UPGRADE + data)
    failure, _ = failure_of(peer.port)
    assert failure is not None and failure.cause == "no answer"
    peer.close()


def test_a_client_raises_its_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="is not reachable: connection refused"):
        Client(settings(free_port()), timing=SHORT).connect()

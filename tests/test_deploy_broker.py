"""The broker that deploy/ describes, with certificates from its script: who may connect, and publish what."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from support.broker import MOSQUITTO, Received, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import INFO, MakeSink, count_logged, sequence
from support.paths import ROOT
from support.samples import event

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
pytestmark = [needs_mosquitto, needs_openssl]

FILES = ROOT / "deploy" / "mosquitto"
NAMES = ("pi5", "pi4", "homeassistant", "listener", "operator")
NOT_AUTHORISED = 135


def make(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(FILES / "make-certificates.sh"), "--out", str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "certs"
    for arguments in (["ca"], ["server", "broker.local", "localhost", "127.0.0.1", "::1"], ["client", *NAMES]):
        done = make(out, *arguments)
        assert done.returncode == 0, done.stderr
    return out


class DeployedBroker:
    """mosquitto with the configuration of deploy/, of which only paths and port are changed."""

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.folder, self.certs, self.port = folder, certificates, free_port()
        shutil.copy(FILES / "acl", folder / "acl")
        (folder / "certs").symlink_to(certificates)
        passwords = folder / "passwords"
        passwords.write_text("".join(f"{name}:secret of {name}\n" for name in NAMES))
        subprocess.run(
            [shutil.which("mosquitto_passwd") or "mosquitto_passwd", "-U", passwords], check=True, timeout=20
        )
        text = (FILES / "mosquitto.conf").read_text()
        for theirs, ours in (
            ("/etc/mosquitto/", f"{folder}/"),
            ("/var/lib/mosquitto/", f"{folder}/"),
            ("\nlistener 8883\n", f"\nlistener {self.port} 127.0.0.1\n"),
        ):
            assert theirs in text
            text = text.replace(theirs, ours)
        if os.geteuid() == 0:
            text += "user root\n"
        (folder / "mosquitto.conf").write_text(text)
        self.start()

    def start(self) -> None:
        assert MOSQUITTO is not None
        with (self.folder / "log").open("ab") as log:
            command = [MOSQUITTO, "-c", str(self.folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._accepts)

    def _accepts(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def tls(self, name: str) -> dict[str, Path]:
        return {
            "ca": self.certs / "ca.pem",
            "certificate": self.certs / f"{name}.pem",
            "key": self.certs / f"{name}.key",
        }


@pytest.fixture
def deployed(tmp_path: Path, certificates: Path) -> Iterator[DeployedBroker]:
    broker = DeployedBroker(tmp_path, certificates)
    yield broker
    broker.kill()


class Peer:
    """A client with the certificate and the password of ``name`` that records acknowledgements and messages."""

    def __init__(self, broker: DeployedBroker, name: str, certificate: str | None = None, topic: str = "#") -> None:
        self.answer: int | None = None
        self.received: list[Received] = []
        self._answers: dict[int, int] = {}
        self._granted = False
        self._topic = topic
        files = broker.tls(certificate or name)
        self._client = Client(CallbackAPIVersion.VERSION2, f"test-{name}", protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(name, f"secret of {name}")
        self._client.tls_set(str(files["ca"]), str(files["certificate"]), str(files["key"]))
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
        self._client.connect("localhost", broker.port)
        self._client.loop_start()
        wait_until(lambda: self._granted or self.answer not in (None, 0))

    def publish(self, topic: str, retain: bool = False) -> int:
        """The reason code of the broker's acknowledgement: 0, or 135 for what the ACL refuses."""
        mid = self._client.publish(topic, b"x", qos=1, retain=retain).mid
        wait_until(lambda: mid in self._answers)
        return self._answers[mid]

    def topics(self) -> list[str]:
        return [message.topic for message in list(self.received)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _more: Any) -> None:
        self.answer = reason.value
        if not reason.is_failure:
            client.subscribe(self._topic, qos=1)

    def _on_subscribe(self, *_: Any) -> None:
        self._granted = True

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: Any, _more: Any) -> None:
        self._answers[mid] = reason.value

    def _on_message(self, _client: Client, _data: Any, message: Any) -> None:
        self.received.append(Received(message.topic, bytes(message.payload), message.qos, bool(message.retain)))


@pytest.fixture
def make_peer(deployed: DeployedBroker) -> Iterator[Any]:
    peers: list[Peer] = []

    def make_one(name: str, **more: str) -> Peer:
        peers.append(Peer(deployed, name, **more))
        return peers[-1]

    yield make_one
    for peer in peers:
        peer.close()


def test_files_are_private_and_none_is_overwritten(certificates: Path) -> None:
    before = {path.name: path.read_bytes() for path in certificates.iterdir()}
    assert before[".gitignore"] == b"*\n"
    assert set(before) - {".gitignore"} == {
        f"{name}.{kind}" for name in ("ca", "server", *NAMES) for kind in ("pem", "key")
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in certificates.iterdir()} == {0o600}
    for arguments in (["ca"], ["server", "other"], ["client", "new", "pi5"]):
        done = make(certificates, *arguments)
        assert done.returncode != 0 and "is there already" in done.stderr
    assert {path.name: path.read_bytes() for path in certificates.iterdir()} == before


def test_certificates_are_good_for_their_purpose_only(certificates: Path) -> None:
    ca, server, node = (certificates / f"{name}.pem" for name in ("ca", "server", "pi5"))
    assert openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslserver", server).endswith("OK\n")
    assert openssl("verify", "-x509_strict", "-CAfile", ca, "-purpose", "sslclient", node).endswith("OK\n")
    assert "unsuitable certificate purpose" in openssl("verify", "-CAfile", ca, "-purpose", "sslserver", node)
    assert "unsuitable certificate purpose" in openssl("verify", "-CAfile", ca, "-purpose", "sslclient", server)
    names = openssl("x509", "-in", server, "-noout", "-ext", "subjectAltName")
    for name in ("DNS:broker.local", "DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"):
        assert name in names
    assert "CN = pi5" in openssl("x509", "-in", node, "-noout", "-subject", "-nameopt", "oneline")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["client", "a/b"], "node name"),
        (["client", "ca"], "no client can be called"),
        (["server", "bad name"], "no host name and no address"),
        (["server"], "needs the broker's names"),
        (["client", "x"], "run '"),
        (["--days", "soon", "ca"], "expected a number"),
        (["sorcerer"], "expected ca, server or client"),
    ],
)
def test_wrong_requests_leave_nothing_behind(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = make(tmp_path / "out", *arguments)
    assert done.returncode != 0 and reason in done.stderr.splitlines()[-1]
    assert not list(tmp_path.rglob("*.pem")) and not list(tmp_path.rglob("*.key"))


def test_a_node_delivers_its_events_with_certificate_and_password(
    deployed: DeployedBroker, make_sink: MakeSink, make_peer: Any, tmp_path: Path
) -> None:
    listener = make_peer("listener", topic="edge-emotion/#")
    (tmp_path / "password").write_text("secret of pi5\n")
    login = {"username": "pi5", "password_file": tmp_path / "password", "tls": deployed.tls("pi5")}
    sink = make_sink(deployed.port, host="localhost", **login)
    sink.open()
    for seq in range(50):
        sink.publish(event(seq))
    wait_until(lambda: listener.topics().count("edge-emotion/pi5/desk/events") == 50)
    events = [message for message in listener.received if message.topic.endswith("events")]
    assert sequence(events) == list(range(50)) and sink.refused == 0


def test_a_node_receives_commands_of_home_assistant_and_may_announce_its_device(
    deployed: DeployedBroker, make_sink: MakeSink, make_peer: Any, log: pytest.LogCaptureFixture
) -> None:
    homeassistant = make_peer("homeassistant")
    login = {"username": "pi5", "password": "secret of pi5", "tls": deployed.tls("pi5"), "host": "localhost"}
    sink, received = make_sink(deployed.port, **login), []
    sink.listen(lambda topic, _payload: received.append(topic))
    sink.describe(INFO, ["desk"], {"components": {}})
    sink.open()
    wait_until(lambda: "homeassistant/device/edge-emotion_pi5/config" in homeassistant.topics())
    asked = ["edge-emotion/pi5/desk/enabled/set", "edge-emotion/pi5/request/info"]
    for topic in asked:
        assert homeassistant.publish(topic) == 0
    wait_until(lambda: received == asked)
    sink.respond("info", {})
    wait_until(lambda: "edge-emotion/pi5/response/info" in homeassistant.topics())
    assert not count_logged(log, "refuses")


def test_orders_of_models_are_written_by_the_operator_and_read_by_every_node(
    deployed: DeployedBroker, make_sink: MakeSink, make_peer: Any
) -> None:
    order, received = "edge-emotion/fleet/cafes/model", list[bytes]()
    assert make_peer("operator").publish(order, retain=True) == 0
    for name in ("pi5", "homeassistant", "listener"):
        assert make_peer(name).publish(order) == NOT_AUTHORISED
    login = {"username": "pi5", "password": "secret of pi5", "tls": deployed.tls("pi5"), "host": "localhost"}
    sink = make_sink(deployed.port, **login)
    sink.follow(order, received.append)
    sink.open()
    wait_until(lambda: received == [b"x"])


def test_each_may_say_only_what_is_its_own(make_peer: Any) -> None:
    homeassistant, node = make_peer("homeassistant"), make_peer("pi5")
    allowed = ["edge-emotion/pi5/desk/events", "edge-emotion/pi5/info", "homeassistant/device/edge-emotion_pi5/config"]
    assert [node.publish(topic) for topic in allowed] == [0, 0, 0]
    for topic in (
        "edge-emotion/pi4/desk/events",
        "edge-emotion/pi4/availability",
        "homeassistant/device/edge-emotion_pi4/config",
        "homeassistant/status",
        "elsewhere",
    ):
        assert node.publish(topic) == NOT_AUTHORISED, topic
    assert homeassistant.publish("edge-emotion/pi5/desk/enabled/set") == 0
    assert homeassistant.publish("edge-emotion/pi5/desk/events") == NOT_AUTHORISED
    assert make_peer("listener").publish("edge-emotion/pi5/desk/enabled/set") == NOT_AUTHORISED
    wait_until(lambda: len(homeassistant.received) == 4)
    assert homeassistant.topics() == [*allowed, "edge-emotion/pi5/desk/enabled/set"]


def test_each_hears_only_what_is_meant_for_it(make_peer: Any) -> None:
    node, other, homeassistant = make_peer("pi5"), make_peer("pi4"), make_peer("homeassistant")
    for topic in ("edge-emotion/pi5/desk/enabled/set", "edge-emotion/pi5/request/info", "homeassistant/status"):
        assert homeassistant.publish(topic) == 0
    assert other.publish("edge-emotion/pi4/desk/events") == 0
    wait_until(lambda: len(homeassistant.received) == 4 and len(node.received) == 3)
    assert node.topics() == [
        "edge-emotion/pi5/desk/enabled/set",
        "edge-emotion/pi5/request/info",
        "homeassistant/status",
    ]
    assert other.topics() == ["homeassistant/status"]


def test_without_a_certificate_or_with_a_strange_one_nobody_gets_in(
    deployed: DeployedBroker, make_sink: MakeSink, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    login = {"username": "pi5", "password": "secret of pi5", "host": "localhost"}
    bare = make_sink(deployed.port, **login, tls={"ca": deployed.certs / "ca.pem"})
    bare.open()
    wait_until(lambda: "peer did not return a certificate" in (deployed.folder / "log").read_text())
    assert not bare.connected
    bare.close()
    for arguments in (["ca"], ["client", "pi5"]):
        assert make(tmp_path / "strange", *arguments).returncode == 0
    files = {"certificate": tmp_path / "strange/pi5.pem", "key": tmp_path / "strange/pi5.key"}
    stranger = make_sink(deployed.port, **login, tls={"ca": deployed.certs / "ca.pem", **files})
    stranger.open()
    wait_until(lambda: "certificate verify failed" in (deployed.folder / "log").read_text())
    assert not stranger.connected


def test_a_certificate_without_the_password_is_refused(
    deployed: DeployedBroker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    login = {"username": "pi5", "password": "guessed", "host": "localhost", "tls": deployed.tls("pi5")}
    sink = make_sink(deployed.port, **login)
    sink.open()
    wait_until(lambda: count_logged(log, "Not authorized") == 1)
    assert sink.failure is not None and not sink.connected


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("version", "accepted"), [("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)])
def test_only_tls_1_2_and_newer_is_spoken(deployed: DeployedBroker, version: str, accepted: bool) -> None:
    files = deployed.tls("pi5")
    context = ssl.create_default_context(cafile=str(files["ca"]))
    context.load_cert_chain(files["certificate"], files["key"])
    context.set_ciphers("DEFAULT@SECLEVEL=0")  # so that it is the broker who refuses
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with socket.create_connection(("127.0.0.1", deployed.port), timeout=10) as plain:
        if accepted:
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                assert secured.version() == version.replace("_", ".")
        else:
            with pytest.raises(ssl.SSLError, match=r"ALERT_PROTOCOL_VERSION|alert protocol version"):
                context.wrap_socket(plain, server_hostname="localhost")


def test_retained_states_survive_a_broker_that_is_killed(deployed: DeployedBroker, make_peer: Any) -> None:
    node = make_peer("pi5")
    assert node.publish("edge-emotion/pi5/desk/state", retain=True) == 0
    wait_until(lambda: b"edge-emotion/pi5/desk/state" in (deployed.folder / "mosquitto.db").read_bytes())
    deployed.kill()
    deployed.start()
    listener = make_peer("listener")
    wait_until(lambda: "edge-emotion/pi5/desk/state" in listener.topics())

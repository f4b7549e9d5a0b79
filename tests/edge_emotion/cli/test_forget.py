"""``edge-emotion forget``: every retained topic of a gone node goes, and no other one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.broker import Authority, Broker, Subscriber, needs_mosquitto, password_access, wait_until
from support.mqtt_stage import INFO, TIMING

from edge_emotion.cli.main import main
from edge_emotion.config.settings import MqttSettings
from edge_emotion.sinks.mqtt.sink import MqttSink
from edge_emotion.wire.home_assistant import device_config
from edge_emotion.wire.topics import Topics

pytestmark = needs_mosquitto

NO_MACHINE = {"temperature_c": None, "throttling": None}


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker on this machine sends everything at once."""
    monkeypatch.setattr("edge_emotion.client.retained.QUIET", 0.2)


def leave(broker: Broker, *nodes: str, **settings: str) -> list[MqttSink]:
    """Nodes with a camera and a device, which are online."""
    sinks = []
    for node in nodes:
        device = device_config(Topics("edge-emotion", node), ["desk"], ["happiness"], "tiny", NO_MACHINE)
        mqtt = MqttSettings.model_validate({"host": "127.0.0.1", "port": broker.port, **settings})
        sinks.append(MqttSink(mqtt, node, INFO, ["desk"], TIMING, device=device))
        sinks[-1].open()
        sinks[-1].feature_state("desk", "enabled", b"ON")
        wait_until(lambda: sinks[-1].connected and not sinks[-1]._send_queue.has_dirty_retained)
    return sinks


def retained(broker: Broker, expected: int) -> list[str]:
    """Topics with a retained message, once there are ``expected`` of them and the broker has sent what else it has."""
    subscriber = Subscriber(broker, f"look-{time.monotonic_ns()}")
    wait_until(lambda: len(topics_with_payload(subscriber)) >= expected)
    subscriber.publish("look/end", b"")
    wait_until(lambda: subscriber.on("look/end"))
    subscriber.close()
    return topics_with_payload(subscriber)


def topics_with_payload(subscriber: Subscriber) -> list[str]:
    return sorted({message.topic for message in list(subscriber.messages) if message.payload})


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_topics_and_device_of_a_gone_node_go_and_those_of_others_stay(
    broker: Broker, capsys: pytest.CaptureFixture[str], protocol: str
) -> None:
    watcher = Subscriber(broker, "watcher")
    for sink in leave(broker, "pi5", "pi55"):
        sink.close()
    command = ["forget", "pi5", "--mqtt", f"127.0.0.1:{broker.port}", "--protocol", protocol]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    root = "edge-emotion/pi5"
    topics = [f"{root}/availability", f"{root}/desk/availability", f"{root}/desk/enabled/state", f"{root}/info"]
    assert lines == [
        *topics,
        "homeassistant/device/edge-emotion_pi5/config",
        "5 retained topics of node pi5 were emptied",
    ]
    left = retained(broker, 5)
    assert len(left) == 5 and all("pi55" in topic for topic in left)
    assert main(command) == 0
    assert "nothing is retained below edge-emotion/pi5" in capsys.readouterr().out
    watcher.close()


def test_a_node_that_is_online_is_refused_unless_forced(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    (sink,) = leave(broker, "pi5")
    command = ["forget", "pi5", "--mqtt", f"127.0.0.1:{broker.port}"]
    assert main(command) == 2
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("error: node pi5 is online: stop it first, or use --forc")
    )
    assert len(retained(broker, 5)) == 5
    assert main([*command, "--force"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "5 retained topics of node pi5 were emptied"
    sink.close()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_access_rules_that_forbid_it_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "pi5", "s3cret", ["topic readwrite #"])).start()
    for sink in leave(broker, "pi5", username="pi5", password="s3cret"):
        sink.close()
    (tmp_path / "acl").write_text("user pi5\ntopic read #\n", encoding="utf-8")
    broker.reload()
    monkeypatch.setenv("EDGE_EMOTION_MQTT__PASSWORD", "s3cret")
    command = ["forget", "pi5", "--mqtt", f"127.0.0.1:{broker.port}", "--username", "pi5", "--protocol", protocol]
    assert main(command) == 6
    (line,) = capsys.readouterr().err.splitlines()
    assert ("refuses to empty" if protocol == "5" else "still has 5 of 5 topics") in line
    broker.stop()


def test_a_client_certificate_is_presented(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path / "authority")
    broker = Broker(tmp_path, authority=authority, client_certificates=True).start()
    certificate, key = authority.issue("me")
    options = ["--mqtt", f"localhost:{broker.tls_port}", "--ca", str(authority.certificate)]
    both = ["--cert", str(certificate), "--key", str(key)]
    assert main(["forget", "pi5", *options, *both]) == 0
    assert main(["subscribe", *options, *both, "--duration", "0.2", "--output", str(tmp_path / "events")]) == 0
    assert main(["forget", "pi5", *options]) == 6
    assert main(["forget", "pi5", *options, *both[:2]]) == 2
    assert "--cert and --key go together" in capsys.readouterr().err
    broker.stop()

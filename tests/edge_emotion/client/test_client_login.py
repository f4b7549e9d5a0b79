"""Broker and login of the client, and its errors."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.broker import Authority, Broker, needs_mosquitto, password_access, wait_until
from support.mqtt_stage import TIMING, count_logged
from support.samples import event
from support.subscribers import client_of, numbers, publish_events

from edge_emotion.client import Client, TlsSettings, broker_settings
from edge_emotion.errors import ConfigError, SinkError

pytestmark = needs_mosquitto


@pytest.mark.parametrize(
    ("options", "fault"),
    [({"node": "#"}, "no name"), ({"camera": "a/b"}, "no name"), ({"group": "+"}, "no name"),
     ({"session": ""}, "no name"), ({"session": "me", "session_expiry": 0}, "session_expiry"),
     ({"group": "me", "settings": broker_settings(protocol="3.1.1")}, "needs MQTT 5")],
)  # fmt: skip
def test_impossible_choices_are_refused_at_once(options: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        Client(**options)  # type: ignore[arg-type]


def test_the_broker_comes_from_the_environment_where_no_argument_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"HOST": "here", "PORT": "1", "USERNAME": "me", "PASSWORD": "s3cret", "TLS__CA": "/ca"}.items():
        monkeypatch.setenv(f"EDGE_EMOTION_MQTT__{name}", value)
    settings = broker_settings(port=2, username="you")
    assert (settings.host, settings.port, settings.username, settings.read_password()) == ("here", 2, "you", "s3cret")
    assert settings.tls is not None and settings.tls.ca == Path("/ca")
    assert "s3cret" not in repr(settings)
    monkeypatch.setenv("EDGE_EMOTION_MQTT__PORT", "s3cret")
    with pytest.raises(ConfigError, match=r"mqtt\.port") as caught:
        broker_settings()
    assert "s3cret" not in str(caught.value)


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "me", "s3cret")).start()
    try:
        with pytest.raises(SinkError, match=r"Not authorized.*mqtt\.username"):
            client_of(broker).connect()
        with pytest.raises(ConfigError, match="password_file"):
            client_of(broker, settings={"username": "me", "password_file": tmp_path / "absent"}).connect()
        with client_of(broker, settings={"username": "me", "password": "s3cret"}) as client:
            assert client.connected
    finally:
        broker.stop()
    with pytest.raises(SinkError, match="not reachable"):
        client_of(broker).connect()
    wait_until(lambda: not [each for each in threading.enumerate() if each.name == "mqtt-subscriber"])


@pytest.mark.parametrize("patient", [True, False])
def test_a_login_that_is_refused_after_a_loss_is_tried_again_after_its_own_delay(
    tmp_path: Path, log: pytest.LogCaptureFixture, patient: bool
) -> None:
    broker = Broker(tmp_path, password_access(tmp_path, "me", "s3cret")).start()
    delay = 300.0 if patient else 0.2
    timing = replace(TIMING, first_login_retry=delay, longest_login_retry=delay)
    try:
        with client_of(broker, settings={"username": "me", "password": "s3cret"}, timing=timing) as client:
            broker.stop()
            wait_until(lambda: not client.connected)
            password_access(tmp_path, "me", "other")
            broker.start()
            wait_until(lambda: count_logged(log, "refuses user 'me'"))
            password_access(tmp_path, "me", "s3cret")
            broker.reload()
            if patient:
                time.sleep(1.0)  # five of the delays after other losses
                assert not client.connected and broker.log.count("not authorised") == 1
            else:
                wait_until(lambda: client.connected)
    finally:
        broker.stop()


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"username": "x" * 65_536}, "mqtt.username has 65536 bytes"),
        ({"username": "é" * 32_768}, "mqtt.username has 65536 bytes"),
        ({"username": "me", "password": "s3cret" * 20_000}, "mqtt.password has 120000 bytes"),
        ({"username": "a\0b"}, "mqtt.username contains a NUL"),
        ({"username": "me", "password": "s3cret\0"}, "mqtt.password contains a NUL"),
    ],
)
def test_a_login_that_mqtt_cannot_transmit_is_a_config_error_without_the_secret(
    settings: dict[str, str], fault: str
) -> None:
    with pytest.raises(ConfigError, match=fault) as caught:
        Client(broker_settings("127.0.0.1", 1, **settings)).connect()  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value) and len(str(caught.value)) < 200


def test_tls_is_used_as_the_daemon_uses_it(tmp_path: Path, log: pytest.LogCaptureFixture) -> None:
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = Broker(folder, authority=authority).start()
    port = {"port": broker.tls_port}
    try:
        with client_of(broker, settings={**port, "tls": TlsSettings(ca=authority.certificate)}) as client:
            publish_events(broker, [event(1)])
            assert numbers(client, 1) == [1]
        with pytest.raises(SinkError, match="no certificate that is trusted"):
            client_of(broker, settings={**port, "tls": TlsSettings(ca=other.certificate)}).connect()
        with client_of(broker, settings={**port, "tls": TlsSettings(insecure=True)}):
            assert count_logged(log, "insecure") == 1
    finally:
        broker.stop()

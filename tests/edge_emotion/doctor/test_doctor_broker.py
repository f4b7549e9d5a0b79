"""The check of the broker, with a real one that accepts, refuses, does not answer, or does not run."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from support.broker import Authority, Broker, Subscriber, free_port, needs_mosquitto, password_access, wait_until
from support.node_state import entry

from edge_emotion.config.settings import CameraSettings, MqttSettings, Settings
from edge_emotion.doctor.broker import broker
from edge_emotion.doctor.delivery import delivery
from edge_emotion.doctor.examination import checks
from edge_emotion.doctor.report import Check, Finding, run_checks
from edge_emotion.mqtt.timing import Timing
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.mqtt.sink import MqttSink

TIMING = Timing(connect=2.0, answer=1.0)
TOPIC = "edge-emotion/pi5/doctor"


def ask(port: int, **settings: Any) -> Finding:
    return broker(MqttSettings(**{"host": "127.0.0.1", "port": port, **settings}), "pi5", TIMING)


@pytest.fixture
def guarded(tmp_path: Path) -> Any:
    """A broker that knows user ``pi5`` and lets a node publish below its own name only."""
    rules = ["topic read #", "", "pattern write edge-emotion/%u/#"]
    running = Broker(tmp_path, password_access(tmp_path, "pi5", "s3cret", rules)).start()
    yield running
    running.stop()


@needs_mosquitto
def test_the_test_message_goes_below_the_node_and_nothing_stays(guarded: Broker) -> None:
    subscriber = Subscriber(guarded, "before", "pi5", "s3cret")
    finding = ask(guarded.port, username="pi5", password="s3cret")
    assert finding.status == "ok", finding
    assert TOPIC in finding.detail
    wait_until(lambda: subscriber.messages)
    subscriber.close()
    late = Subscriber(guarded, "after", "pi5", "s3cret")
    other = ask(guarded.port, username="pi5", password="s3cret")
    wait_until(lambda: late.messages)
    late.close()
    assert other.status == "ok"
    (message,) = subscriber.messages
    assert (message.topic, message.qos, message.retain) == (TOPIC, 1, False)
    assert len(late.messages) == 1, "a retained message or a last will was left"


@needs_mosquitto
def test_a_refused_login_fails_with_the_command_that_mends_it(guarded: Broker) -> None:
    finding = ask(guarded.port, username="pi5", password="wr0ng")
    assert finding.status == "fail"
    assert "refuses user 'pi5'" in finding.detail
    assert "mosquitto_passwd /etc/mosquitto/passwords pi5" in finding.fix
    assert "wr0ng" not in str(finding)
    assert "mqtt.username" in ask(guarded.port).fix


@needs_mosquitto
def test_a_publish_that_the_access_rules_refuse_fails_with_the_rule_that_is_missing(guarded: Broker) -> None:
    finding = ask(guarded.port, username="pi5", password="s3cret", prefix="home/emotions")
    assert finding.status == "fail"
    assert "may not publish on home/emotions/pi5/doctor: Not authorized" in finding.detail
    assert "user pi5, then topic write home/emotions/pi5/#" in finding.fix


@needs_mosquitto
def test_with_mqtt_3_1_1_a_warning_explains_that_refusals_are_not_reported(guarded: Broker) -> None:
    finding = ask(guarded.port, username="pi5", password="s3cret", prefix="elsewhere", protocol="3.1.1")
    assert finding.status == "warn"
    assert "does not report" in finding.detail


@needs_mosquitto
def test_a_daemon_with_the_same_client_id_stays_connected(guarded: Broker) -> None:
    subscriber = Subscriber(guarded, "fixed", "pi5", "s3cret")
    ask(guarded.port, username="pi5", password="s3cret", client_id="fixed")
    wait_until(lambda: subscriber.messages)
    assert "already connected" not in guarded.log
    subscriber.close()


@needs_mosquitto
def test_tls_is_examined(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "stranger")
    running = Broker(tmp_path, authority=authority).start()
    try:
        trusted = ask(running.tls_port, tls={"ca": authority.certificate})
        assert (trusted.status, trusted.detail[-8:]) == ("ok", "over TLS"), trusted
        untrusted = ask(running.tls_port, tls={"ca": stranger.certificate})
        assert untrusted.status == "fail"
        assert "mqtt.tls.ca" in untrusted.fix
        assert "8883" in ask(running.port, tls={"ca": authority.certificate}).fix
        assert "mqtt.tls" in ask(running.tls_port).fix
        assert ask(running.tls_port, tls={"insecure": True}).status == "warn"
    finally:
        running.stop()


@needs_mosquitto
def test_a_broker_that_requires_a_client_certificate_fails_with_the_setting(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("pi5")
    running = Broker(tmp_path, authority=authority, client_certificates=True).start()
    try:
        without = ask(running.tls_port, tls={"ca": authority.certificate})
        given = ask(running.tls_port, tls={"ca": authority.certificate, "certificate": certificate, "key": key})
    finally:
        running.stop()
    assert (without.status, "mqtt.tls.certificate" in without.fix) == ("fail", True)
    assert given.status == "ok"


def test_a_broker_that_is_not_there_fails() -> None:
    port = free_port()
    finding = ask(port)
    assert (finding.status, finding.detail) == (
        "fail",
        f"127.0.0.1:{port} is not reachable: connection refused, no program listens on this port",
    )
    assert "mosquitto" in finding.fix


def test_an_impossible_host_name_fails() -> None:
    finding = ask(1883, host="broker..home")
    assert finding.status == "fail"
    assert "mqtt.host" in finding.fix


def test_a_peer_that_does_not_answer_fails_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = ask(silent.getsockname()[1])
    assert finding.status == "fail"
    assert "no answer within 1 s" in finding.detail
    assert "mqtt.tls" in finding.fix


@pytest.mark.parametrize("part", [{"password_file": "nowhere"}, {"tls": {"ca": "nowhere.pem"}}])
def test_a_file_that_cannot_be_read_is_named(part: dict[str, Any]) -> None:
    ((_, finding),) = run_checks([Check("broker", lambda: ask(1883, username="pi5", **part), "give the file")])
    assert finding.status == "fail"
    assert "nowhere" in finding.detail
    assert finding.fix == "give the file"


@needs_mosquitto
def test_a_running_daemon_is_online_or_the_doctor_finds_that_no_event_can_leave(tmp_path: Path) -> None:
    running = Broker(tmp_path).start()
    mqtt = MqttSettings(host="127.0.0.1", port=running.port, drain_timeout=0)
    settings = Settings(
        node="pi5", cameras={"desk": CameraSettings(source="0")}, mqtt=mqtt, state_dir=tmp_path / "state"
    )
    numbers = EventCounter(settings.state_path, "pi5")
    assert "delivery" in [check.name for check in checks(settings)]

    def look() -> Finding:
        return delivery(settings, mqtt, TIMING, pause=0.1)

    assert look().status == "fail" and "has nothing on edge-emotion/pi5/availability: 0 events wait" in look().detail
    sink = MqttSink(mqtt, "pi5", {}, ["desk"], state_dir=settings.state_path, numbers=numbers)
    sink.open()
    wait_until(lambda: look().status == "ok")
    assert "0 events wait" in look().detail
    sink.close()
    assert look().status == "fail" and "is offline on edge-emotion/pi5/availability" in look().detail
    assert numbers.store is not None
    numbers.store.write([entry(1), entry(2)], [])
    assert "2 events wait" in look().detail
    running.stop()
    assert look().status == "fail" and "no event can leave (2 events wait)" in look().detail
    numbers.close()
    assert "delivery" not in [check.name for check in checks(settings)]

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.broker import Authority, Broker, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import (
    PROTOCOLS,
    MakeSink,
    MakeSubscriber,
    network_threads,
    publish,
    said,
    sequence,
)
from support.samples import event

from edge_emotion.errors import SinkError

pytestmark = needs_mosquitto


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture
def tls_broker(tmp_path: Path, authority: Authority) -> Iterator[Broker]:
    broker = Broker(tmp_path, authority=authority).start()
    yield broker
    broker.stop()


@PROTOCOLS
def test_events_go_over_tls_to_a_broker_with_a_trusted_certificate(
    tls_broker: Broker, authority: Authority, make_sink: MakeSink, make_subscriber: MakeSubscriber, protocol: str
) -> None:
    subscriber = make_subscriber(tls_broker)
    sink = make_sink(tls_broker.tls_port, protocol=protocol, tls={"ca": authority.certificate})
    sink.open()
    wait_until(lambda: sink.connected)
    publish(sink, range(200))
    wait_until(lambda: len(subscriber.on("events")) == 200)
    assert sequence(subscriber.on("events")) == list(range(200))


def test_a_broker_with_another_authority_gets_nothing_and_the_reason_is_said_once(
    tls_broker: Broker, tmp_path: Path, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other")
    sink = make_sink(tls_broker.tls_port, tls={"ca": other.certificate})
    sink.open()
    sink.publish(event(1))
    wait_until(lambda: tls_broker.log.count("unknown ca") + tls_broker.log.count("alert") >= 3)
    assert said(log, "mqtt.tls trusts") == 1 and said(log, "certificate") == 1
    assert not sink.connected and sink.failure is None and sink.waiting == 1


def test_an_unverified_broker_is_used_only_with_a_warning(
    tls_broker: Broker, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    sink = make_sink(tls_broker.tls_port, tls={"insecure": True})
    sink.open()
    wait_until(lambda: sink.connected)
    assert said(log, "insecure") == 1


def test_a_broker_that_wants_a_client_certificate_gets_it(
    tmp_path: Path, authority: Authority, make_sink: MakeSink, log: pytest.LogCaptureFixture
) -> None:
    broker = Broker(tmp_path, authority=authority, client_certificates=True).start()
    certificate, key = authority.issue("client")
    try:
        without = make_sink(broker.tls_port, tls={"ca": authority.certificate})
        without.open()
        wait_until(lambda: said(log, "SSL") + said(log, "closed"))
        assert not without.connected
        without.close()
        tls = {"ca": authority.certificate, "certificate": certificate, "key": key}
        sink = make_sink(broker.tls_port, tls=tls)
        sink.open()
        wait_until(lambda: sink.connected)
    finally:
        broker.stop()


@pytest.mark.parametrize("broken", ["missing", "empty", "other key", "encrypted key"])
def test_unusable_tls_files_are_refused_at_open_by_name(
    tmp_path: Path, authority: Authority, make_sink: MakeSink, broken: str
) -> None:
    certificate, key = authority.issue("client")
    tls = {"ca": authority.certificate, "certificate": certificate, "key": key}
    culprit = tmp_path / "culprit.pem"
    if broken == "empty":
        culprit.write_bytes(b"")
    if broken == "other key":
        culprit.write_bytes(authority.issue("other")[1].read_bytes())
    if broken == "encrypted key":
        arguments = ["-in", str(key), "-aes128", "-passout", "pass:made-up", "-out", str(culprit)]
        subprocess.run(["openssl", "pkey", *arguments], check=True, timeout=20)
    tls["ca" if broken in ("missing", "empty") else "key"] = culprit
    with pytest.raises(SinkError, match=r"culprit\.pem") as caught:
        make_sink(free_port(), tls=tls).open()
    assert "\n" not in str(caught.value) and not network_threads()

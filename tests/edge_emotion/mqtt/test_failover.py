"""Several brokers: the next one after a failure, and brokers without MQTT 5."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from support.broker import Broker, Subscriber, free_port, needs_mosquitto, wait_until
from support.mqtt_stage import TIMING, MakeSink, count_logged, publish, sequence
from support.nats import NatsServer, needs_nats
from support.subscribers import numbers

from edge_emotion.cli.broker_options import broker_of
from edge_emotion.cli.main import main
from edge_emotion.client import Client, EventReceived, broker_settings
from edge_emotion.client.retained import forget
from edge_emotion.config.loader import load
from edge_emotion.config.settings import MqttSettings
from edge_emotion.doctor.broker import broker as check_broker
from edge_emotion.errors import ConfigError, SinkError
from edge_emotion.mqtt.failover import Failover
from edge_emotion.mqtt.timing import Timing

HINT = 'set mqtt.protocol: "3.1.1"'


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Broker, Broker]]:
    """Two brokers that share nothing."""
    with ExitStack() as stack:
        brokers = []
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            brokers.append(Broker(tmp_path / name).start())
            stack.callback(brokers[-1].stop)
        yield brokers[0], brokers[1]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.kill()


def at(*ports: int, **settings: Any) -> MqttSettings:
    """Settings of brokers on these ports, without a random delay after a lost connection."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return broker_settings(hosts, **settings).model_copy(update={"reconnect_spread": 0.0})


def test_brokers_are_tried_in_turn_and_the_delay_grows_with_each_round() -> None:
    timing = Timing(first_retry=1.0, longest_retry=8.0)
    failover = Failover(MqttSettings(hosts=("one", "two:1884", "three")), timing)
    names, delays = [], []
    for _ in range(9):
        names.append(failover.name)
        delays.append(failover.advance(0.0))
    assert names[:4] == ["broker one:1883", "broker two:1884", "broker three:1883", "broker one:1883"]
    assert all(0.5 <= delays[index] <= 1.0 for index in (0, 1, 2, 3, 4, 6, 7))
    assert 1.0 <= delays[5] <= 2.0 and 2.0 <= delays[8] <= 4.0
    failover.advance(timing.steady + 1)
    assert failover.advance(0.0) <= 1.0


def test_clients_that_lose_a_connection_come_back_over_the_whole_spread() -> None:
    delays = [Failover(MqttSettings(reconnect_spread=30), Timing()).advance(10.0) for _ in range(2000)]
    assert min(delays) < 2 and max(delays) > 29
    for begin in range(1, 30):
        assert sum(begin <= delay < begin + 1 for delay in delays) < 2000 * 0.06, "about 1 in 30 in each second"
    never_accepted = [Failover(MqttSettings(reconnect_spread=30), Timing()).advance(0.0) for _ in range(50)]
    assert max(never_accepted) <= 1.0


def test_hosts_have_ports_of_their_own_or_the_usual_one() -> None:
    settings = MqttSettings.model_validate({"hosts": ["a", "b:1884", "[::1]:1885", "fe80::1"], "tls": {}})
    assert settings.endpoints == (("a", 8883), ("b", 1884), ("::1", 1885), ("fe80::1", 8883))
    assert MqttSettings.model_validate({"hosts": "a, b"}).address == "a:1883,b:1883"
    assert MqttSettings().endpoints == (("localhost", 1883),)
    assert (MqttSettings().reconnect_spread, MqttSettings(hosts=("a",)).reconnect_spread) == (0, 5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": "a", "hosts": ["b"]}, "host and hosts exclude each other"),
        ({"hosts": ["a:99999"]}, "the port '99999' is not a number"),
        ({"hosts": ["mqtt://a"]}, "without scheme"),
        ({"hosts": ["a", ""]}, "expected a host name"),
        ({"host": "a,b"}, "several brokers: mqtt.hosts"),
    ],
)
def test_impossible_hosts_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        MqttSettings.model_validate(given)


def test_the_command_line_replaces_the_brokers_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    cases = [("{host: x}", "a,b:1884", "a:1883,b:1884"), ("{hosts: [x, y]}", "a", "a:1883")]
    for mqtt, option, expected in cases:
        file.write_text(f"mqtt: {mqtt}\ncameras: {{desk: {{source: 0}}}}\n", encoding="utf-8")
        settings = load(file, {"mqtt": broker_of(option)})
        assert settings.mqtt is not None and settings.mqtt.address == expected


def test_brokers_of_different_schemes_are_refused() -> None:
    assert broker_of("mqtts://a,mqtts://b:1884")["hosts"] == ["a", "b:1884"]
    with pytest.raises(ConfigError, match="the same scheme"):
        broker_of("mqtts://a,b")


def test_a_group_needs_mqtt_5() -> None:
    with pytest.raises(ConfigError, match="a group needs MQTT 5"):
        Client(broker_settings(protocol="3.1.1"), group="workers")


@needs_mosquitto
def test_nothing_is_lost_when_the_broker_is_killed_and_another_one_is_there(
    two: tuple[Broker, Broker], make_sink: MakeSink
) -> None:
    first, second = two
    watchers = [Subscriber(broker, "watcher") for broker in two]
    sink = make_sink(first.port, host=None, hosts=at(first.port, second.port).hosts, reconnect_spread=0)
    sink.open()
    publish(sink, range(1, 101))
    wait_until(lambda: not sink.waiting)
    first.kill()
    publish(sink, range(101, 201))
    wait_until(lambda: not sink.waiting and sink.connected)
    wait_until(lambda: set(sequence(watchers[0].on("/events") + watchers[1].on("/events"))) == set(range(1, 201)))
    assert sequence(watchers[1].on("/events"))[-100:] == list(range(101, 201))
    assert [message.payload for message in watchers[1].on("pi5/availability")] == [b"online"]
    first.start()
    second.kill()
    wait_until(lambda: sink.connections == 3)
    for watcher in watchers:
        watcher.close()


@needs_mosquitto
def test_a_client_goes_on_at_the_next_broker(two: tuple[Broker, Broker], make_sink: MakeSink) -> None:
    first, second = two
    with Client(at(first.port, second.port), timing=TIMING) as client:
        sink = make_sink(first.port)
        sink.open()
        publish(sink, range(1, 4))
        assert numbers(client, 3) == [1, 2, 3]
        earlier = second.log.count("Received SUBSCRIBE")
        first.kill()
        wait_until(lambda: second.log.count("Received SUBSCRIBE") > earlier)
        sink.close()
        other = make_sink(second.port)
        other.open()
        wait_until(lambda: other.connected)
        publish(other, range(4, 6))
        assert numbers(client, 2) == [4, 5]


@needs_mosquitto
def test_a_first_connection_takes_the_first_broker_that_answers(
    two: tuple[Broker, Broker], make_sink: MakeSink
) -> None:
    closed = free_port()
    settings = at(closed, two[1].port)
    with Client(settings, timing=TIMING) as client:
        assert client.connected
    assert check_broker(settings, "pi5", TIMING).status == "warn"
    assert forget(settings, "pi5", timing=TIMING) == []
    with pytest.raises(SinkError, match=r"none of 2 brokers: .*connection refused.* \| .*connection refused"):
        Client(at(closed, free_port()), timing=TIMING).connect()
    assert check_broker(at(closed, free_port()), "pi5", TIMING).status == "fail"


@needs_nats
def test_a_broker_that_refuses_mqtt_5_is_answered_with_the_setting(
    nats: NatsServer,
    make_sink: MakeSink,
    log: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sink = make_sink(nats.port)
    sink.open()
    wait_until(lambda: count_logged(log, HINT))
    sink.close()
    finding = check_broker(at(nats.port), "pi5", TIMING)
    assert finding.status == "fail" and finding.fix == HINT and "Unsupported protocol version" in finding.detail
    with pytest.raises(SinkError, match=HINT):
        Client(at(nats.port), timing=TIMING).connect()
    assert main(["subscribe", "--mqtt", f"127.0.0.1:{nats.port}"]) == 6
    assert capsys.readouterr().err.count("\n") == 1


@needs_nats
@pytest.mark.parametrize("kind", ["nats", "mosquitto"])
def test_a_named_session_of_mqtt_3_1_1_gets_what_came_while_it_was_away(
    nats: NatsServer, make_sink: MakeSink, kind: str, request: pytest.FixtureRequest
) -> None:
    port = nats.port if kind == "nats" else request.getfixturevalue("broker").port
    settings = at(port, protocol="3.1.1")
    sink = make_sink(port, protocol="3.1.1")
    sink.open()
    with Client(settings, session=f"reports-{kind}", timing=TIMING) as client:
        publish(sink, range(1, 4))
        assert numbers(client, 3) == [1, 2, 3]
    publish(sink, range(4, 7))
    wait_until(lambda: not sink.waiting)
    with Client(settings, session=f"reports-{kind}", timing=TIMING, positions=client.positions) as later:
        assert numbers(later, 3) == [4, 5, 6]
        publish(sink, range(7, 8))
        taken = later.receive(20)
        while not isinstance(taken, EventReceived):
            taken = later.receive(20)
        later.close()  # without an acknowledgement of event 7
    with Client(settings, session=f"reports-{kind}", timing=TIMING) as again:
        assert numbers(again, 1) == [7]

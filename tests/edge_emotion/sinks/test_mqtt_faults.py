"""Faults of this program in the sink's threads: the node does not stay mute, and does not look healthy."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from paho.mqtt.publish import single
from support.broker import Broker, needs_mosquitto, wait_until
from support.daemons import Endless, make_daemon
from support.mqtt_stage import INFO, MakeSink, MakeSubscriber, count_logged, publish, sequence
from support.paths import ROOT
from support.samples import event

from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import SinkError
from edge_emotion.sinks.mqtt.sender import MAX_FAULTS
from edge_emotion.sinks.mqtt.sink import MqttSink, Timing

pytestmark = needs_mosquitto

FAST = Timing(connect=2.0, answer=1.0, first_retry=0.01, longest_retry=0.02, turn=0.3)


class Faulty(MqttSink):
    """A sink whose callback for confirmed retained messages raises."""

    def _on_confirmed(self, message: object) -> None:
        raise RuntimeError("planted")


def make_faulty(broker: Broker) -> Faulty:
    return Faulty(MqttSettings(host="127.0.0.1", port=broker.port, drain_timeout=0.1), "pi5", INFO, ["desk"], FAST)


def test_a_callback_that_raises_once_costs_a_connection_and_no_event(
    broker: Broker, make_sink: MakeSink, make_subscriber: MakeSubscriber, log: pytest.LogCaptureFixture
) -> None:
    sink, subscriber = make_sink(broker.port), make_subscriber(broker)
    called: list[str] = []

    def raises(topic: str, _payload: bytes) -> None:
        called.append(topic)
        raise ZeroDivisionError("planted")

    sink.listen(raises)
    sink.open()
    publish(sink, range(1, 4))
    wait_until(lambda: sink.connected and not sink.waiting)
    single("edge-emotion/pi5/request/info", b"", qos=1, hostname="127.0.0.1", port=broker.port)
    wait_until(lambda: called and sink.connections == 2 and sink.connected)
    publish(sink, range(4, 8))
    wait_until(lambda: sequence(subscriber.on("/events")) == list(range(1, 8)))
    assert sink.ended is None
    assert "ZeroDivisionError: planted" in (sink.last_failure or "")
    assert count_logged(log, "ZeroDivisionError: planted; trying again") == 1


def test_a_fault_that_goes_on_ends_the_run_with_its_reason(broker: Broker) -> None:
    sink = make_faulty(broker)
    daemon = make_daemon({"desk": Endless()}, [sink])  # type: ignore[dict-item, list-item]
    with pytest.raises(SinkError, match=r"the network thread has ended: RuntimeError: planted") as caught:
        daemon.run()
    assert caught.value.exit_code == 6 and "\n" not in str(caught.value)
    assert sink.connections == MAX_FAULTS + 1


def test_a_process_with_such_a_fault_exits_with_the_documented_code(broker: Broker, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from edge_emotion.cli.main import main\n"
        "from edge_emotion.sinks.mqtt import announcer, sender\n"
        "def planted(*_): raise KeyError('planted')\n"
        "announcer.Announcer.confirm = planted\n"
        "sender.MAX_FAULTS = 0\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    settings = [f"mqtt.port={broker.port}", f"state_dir={tmp_path / 'state'}", "classifier.model=tiny"]
    command = [sys.executable, "-c", program, "run", "--source", str(ROOT / "edge_emotion" / "demo.mp4")]
    command += ["--mqtt", "127.0.0.1", "--set", "cameras.camera.loop=true"]
    command += [part for each in settings for part in ("--set", each)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 6, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: broker 127.0.0.1:")
    assert "the network thread has ended: KeyError: 'planted'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_thread_that_hangs_is_found_out(broker: Broker, make_sink: MakeSink) -> None:
    sink, goes_on, called = make_sink(broker.port, FAST), threading.Event(), threading.Event()

    def blocks(_topic: str, _payload: bytes) -> None:
        called.set()
        goes_on.wait(30)

    sink.listen(blocks)
    sink.open()
    wait_until(lambda: sink.connected)
    assert not sink.hangs
    single("edge-emotion/pi5/request/info", b"", qos=1, hostname="127.0.0.1", port=broker.port)
    wait_until(called.is_set)
    wait_until(lambda: sink.hangs)
    goes_on.set()
    wait_until(lambda: not sink.hangs)


def test_a_broker_that_is_away_is_no_hang(make_sink: MakeSink) -> None:
    sink = make_sink(1, Timing(connect=0.2, first_retry=3.0, longest_retry=3.0, turn=1.5))
    sink.open()
    hangs = []
    wait_until(lambda: hangs.append(sink.hangs) or len(hangs) > 200)  # 2 s of a delay of 3 s
    assert not any(hangs)
    assert "is not reachable" in (sink.last_failure or "")


def test_an_outbox_that_raises_what_nobody_expects_is_left_and_events_go_on(
    broker: Broker, make_subscriber: MakeSubscriber, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    settings = MqttSettings(host="127.0.0.1", port=broker.port)
    sink, subscriber = MqttSink(settings, "pi5", INFO, ["desk"], FAST, state_dir=folder), make_subscriber(broker)
    sink.open()
    sink.publish(event(1))
    wait_until(lambda: sequence(subscriber.on("/events")) == [1])
    assert sink.durable and sink._file is not None

    def planted(*_: object) -> None:
        raise AttributeError("planted")

    sink._file.write = planted  # type: ignore[method-assign]
    sink.publish(event(2))
    wait_until(lambda: sequence(subscriber.on("/events")) == [1, 2])
    assert not sink.durable
    assert count_logged(log, "cannot write events") == 1
    sink.close()

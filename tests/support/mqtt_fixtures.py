"""Fixtures of the tests of the MQTT sink, as a pytest plugin."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_emotion.config.settings import MqttSettings
from edge_emotion.sinks.mqtt.sink import MqttSink, Timing
from support.broker import Broker, Subscriber
from support.mqtt_stage import INFO, TIMING, MakeSink, MakeSubscriber


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path).start()
    yield broker
    broker.stop()


@pytest.fixture
def make_sink() -> Iterator[MakeSink]:
    sinks: list[MqttSink] = []

    def make(port: int, timing: Timing = TIMING, **settings: Any) -> MqttSink:
        settings = {"host": "127.0.0.1", "port": port, "drain_timeout": 5.0, **settings}
        sinks.append(MqttSink(MqttSettings(**settings), "pi5", INFO, ["desk"], timing))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


@pytest.fixture
def make_subscriber() -> Iterator[MakeSubscriber]:
    subscribers: list[Subscriber] = []

    def make(broker: Broker, *login: str) -> Subscriber:
        subscribers.append(Subscriber(broker, f"subscriber-{len(subscribers)}", *login))
        return subscribers[-1]

    yield make
    for subscriber in subscribers:
        subscriber.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "edge_emotion.sinks.mqtt")
    return caplog

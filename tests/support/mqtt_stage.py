"""What the tests of the MQTT sink have in common: names, timing, and ways to read what arrived and was said."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edge_emotion.sinks.mqtt.sink import MqttSink, Timing
from edge_emotion.wire.payloads import event_from_json
from support.broker import Received, Subscriber
from support.samples import event

ROOT = "edge-emotion/pi5"
INFO = {"version": "1.0.0", "cameras": ["desk"]}
TIMING = Timing(connect=2.0, answer=1.0, first_retry=0.05, longest_retry=0.2)
PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])

MakeSink = Callable[..., MqttSink]
MakeSubscriber = Callable[..., Subscriber]


def said(log: pytest.LogCaptureFixture, text: str) -> int:
    """How many lines contain ``text``."""
    return sum(text in message for message in log.messages)


def sequence(messages: list[Received]) -> list[int]:
    """Numbers of the events in the order of their first arrival."""
    return list(dict.fromkeys(event_from_json(message.payload).seq for message in messages))


def replayed(messages: list[Received]) -> set[int]:
    """Numbers of the events that arrived as replayed."""
    return {e.seq for e in (event_from_json(message.payload) for message in messages) if e.replayed}


def publish(sink: MqttSink, seqs: range) -> None:
    for seq in seqs:
        sink.publish(event(seq))


def network_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "mqtt-sink"]

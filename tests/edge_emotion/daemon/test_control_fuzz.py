"""Whatever comes on a node's ``set`` and ``request`` topics changes nothing that must not change, and crashes nothing.

FUZZ_EXAMPLES=10000 makes the run a long one. Most goes to the handlers, some hundred messages through a real broker.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from support.broker import Broker, needs_mosquitto, wait_until
from support.control_stage import CAMERA, ROOT, Stage

from edge_emotion.app import make_daemon
from edge_emotion.config.loader import load
from edge_emotion.daemon.control import LARGEST
from edge_emotion.labels import EMOTIONS
from edge_emotion.wire.topics import FEATURES

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "600"))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(EMOTIONS),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ESCAPED = st.sampled_from([b'"\\ud800"', b'{"transaction": "\\udfff"}', b"[" * 2000, b'{"a":' * 700, b"1" * 4000])
TRANSACTIONS = JSON.map(lambda value: json.dumps({"transaction": value}).encode())
PAYLOADS = (
    st.binary(max_size=64)
    | JSON.map(lambda value: json.dumps(value).encode())
    | TRANSACTIONS
    | ESCAPED
    | st.sampled_from([b"ON ", b"on", b"OFF\0", b"0.5.1", b"[]", b"{}", b"1e999", b"-0.001", b"\xef\xbb\xbf0.5"])
    | st.binary(min_size=LARGEST + 1, max_size=LARGEST + 50)
)
NAMES = st.sampled_from(
    ["desk", "nobody", "request", *FEATURES, "volume", "$SYS", "a b", "\N{PILE OF POO}", "", "..", "x" * 300]
)
SET_TOPICS = st.builds(lambda camera, feature: f"{camera}/{feature}/set", NAMES, NAMES)
REQUEST_TOPICS = st.sampled_from(["info", "reload", "reboot", "..", "", "a b", "\0"]).map(
    lambda name: f"request/{name}"
)
MESSAGES = st.tuples(SET_TOPICS | REQUEST_TOPICS, PAYLOADS)


def is_good(topic: str, payload: bytes) -> bool:
    """True for what is allowed to change something, by rules of its own: not those of the code under test."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        value = ...
    return len(payload) <= LARGEST and (
        (topic == "desk/enabled/set" and payload in (b"ON", b"OFF"))
        or (topic == "desk/threshold/set" and (value is None or (type(value) in (int, float) and 0 <= value <= 1)))
        or (topic == "desk/classes/set" and (value is None or isinstance(value, list)))
    )


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.stop()


@seed(20261121)
@settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(MESSAGES)
def test_nothing_that_is_sent_breaks_or_changes_a_node(stage: Stage, message: tuple[str, bytes]) -> None:
    topic, payload = message
    before = stage.features["desk"], stage.control.settings, stage.camera().status, dict(stage.channel.features)
    stage.channel.answers.clear()
    stage.ask(topic, payload)
    while not stage.daemon._jobs.empty():
        stage.daemon._jobs.get()()
    if not is_good(topic, payload):
        after = stage.features["desk"], stage.control.settings, stage.camera().status, dict(stage.channel.features)
        assert after == before
    for command, answer in stage.channel.answers:
        assert topic == f"request/{command}" and set(answer) >= {"status", "data", "error"}
        json.dumps(answer, allow_nan=False).encode()
    assert stage.control._pending._value == 64, "nothing waits for ever"


def bad_messages(count: int) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    @seed(7)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(MESSAGES.filter(lambda message: "\0" not in message[0] and not is_good(*message)))
    def collect(message: tuple[str, bytes]) -> None:
        found.append(message)

    collect()
    return found


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_whole_node_withstands_it_through_a_broker(protocol: str, broker: Broker, tmp_path: Path) -> None:

    messages = bad_messages(150)
    answers: list[dict[str, Any]] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: answers.append(json.loads(message.payload))
    client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/response/#", 1)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    tree = {
        "node": "pi5",
        "state_dir": str(tmp_path / "state"),
        "cameras": {"desk": CAMERA},
        "classifier": {"model": "tiny"},
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "protocol": protocol},
    }
    daemon = make_daemon(load(None, tree, environment=False))
    thread = threading.Thread(target=daemon.run)
    thread.start()

    def alive(number: int) -> bool:
        client.publish(f"{ROOT}/request/info", json.dumps({"transaction": number}), qos=1)
        wait_until(lambda: thread.is_alive())
        try:
            wait_until(lambda: any(answer.get("transaction") == number for answer in answers), 1)
        except AssertionError:
            return False
        return True

    try:
        wait_until(lambda: alive(-1), 60)
        for topic, payload in messages:
            client.publish(f"{ROOT}/{topic}", payload, qos=1)
        client.publish(f"{ROOT}/request/info", b"x" * 1_000_000, qos=1)
        wait_until(lambda: alive(-2), 60)
    finally:
        daemon.stop()
        thread.join(30)
        client.disconnect()
        client.loop_stop()
    assert not thread.is_alive() and not (tmp_path / "state" / "pi5.features.json").exists()

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from support.samples import EVENT, event, state

from edge_emotion.client.items import read_event, read_state
from edge_emotion.wire.payloads import event_from_json, event_to_json, read_availability, state_to_json
from edge_emotion.wire.topics import Address, read_address

DESK = Address("pi5", "desk", "events")


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(event_to_json(EVENT)), **fields}).encode()


def test_topics_are_taken_apart() -> None:
    assert read_address("home/emotions", "home/emotions/pi5/desk/events") == DESK
    assert read_address("edge-emotion", "edge-emotion/pi5/availability") == Address("pi5", None, "availability")


@pytest.mark.parametrize(
    "topic",
    [
        "other/pi5/desk/events",
        "edge-emotion/a/b/c/events",
        "edge-emotion/pi 5/desk/events",
        "edge-emotion//desk/events",
        "edge-emotion/pi5/de\x1bsk/events",
    ],
)
def test_topics_that_cannot_be_a_node_s_are_refused(topic: str) -> None:
    with pytest.raises(ValueError):
        read_address("edge-emotion", topic)


def test_fields_of_a_later_version_are_ignored() -> None:
    assert read_event(DESK, changed(gaze=[0, 1], track={**json.loads(event_to_json(EVENT))["track"], "age": 3})) == (
        event_from_json(event_to_json(EVENT))
    )


def test_another_schema_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"of schema 2, this subscriber understands 1: install .* runs on pi5"):
        read_event(DESK, changed(schema=2, type="update"))


def test_an_event_that_claims_to_come_from_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="comes from 'pi6'"):
        read_event(DESK, changed(node="pi6"))


def test_a_payload_that_is_too_large_is_not_even_parsed() -> None:
    with pytest.raises(ValueError, match="bytes"):
        read_event(DESK, event_to_json(EVENT) + b" " * 70_000)


@pytest.mark.parametrize(
    "fields", [{"emotion": 3}, {"confidence": "high"}, {"probabilities": {"fear": [1]}}, {"counts": {"fear": None}},
               {"ts": "today"}, {"faces": 1.5}, {"counts": 3}]
)  # fmt: skip
def test_a_state_of_other_types_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        read_state(json.dumps({**json.loads(state_to_json(state())), **fields}).encode())


def test_an_empty_payload_means_forgotten() -> None:
    assert read_state(b"") is None
    assert read_availability(b"") is None
    with pytest.raises(ValueError):
        read_availability(b"maybe")


def test_damaged_payloads_are_refused_and_never_crash() -> None:
    draw = random.Random(5)
    whole = [event_to_json(event(3)), state_to_json(state())]
    refused = 0
    for turn in range(3000):
        payload = bytearray(whole[turn % 2])
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(len(payload))
            payload[place : place + draw.randint(0, 9)] = draw.choice(
                [b"", b"null", b"{", b"[[", b'"', b"1e999", b"\xff", b"-", bytes([draw.randrange(256)]), b"\\ud800"]
            )
        try:
            read_event(DESK, bytes(payload)) if turn % 2 == 0 else read_state(bytes(payload))
        except ValueError:
            refused += 1
    assert refused > 2000


@pytest.mark.parametrize(
    "payload", [b"", b"null", b"[]", b"[" * 60_000, b'{"schema":' * 5000, b"\xff\xfe", b"1" * 5000]
)
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        read_event(DESK, payload)

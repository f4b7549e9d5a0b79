from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support.samples import CAPTURED, EVENT, event, state

from edge_emotion.datatypes import Box
from edge_emotion.wire.payloads import (
    MAX_DEPTH,
    as_replayed,
    availability_from_payload,
    availability_to_payload,
    event_from_json,
    event_to_json,
    format_time,
    parse_time,
    read_json,
    state_from_json,
    state_to_json,
    to_json,
)
from edge_emotion.wire.topics import Topics

GOLDEN = (
    b'{"schema":1,"type":"start","id":"01JD0000000000000000000001","seq":4711,"node":"pi5","camera":"desk",'
    b'"ts":"2026-11-20T04:31:07.123Z","event_type":"happiness","emotion":"happiness","confidence":0.93,'
    b'"probabilities":{"neutral":0.03,"happiness":0.93,"surprise":0.04},"previous":null,'
    b'"track":{"id":"01JD0000000000000000000002","started":"2026-11-20T04:31:06.900Z","duration":0.2},'
    b'"box":[0.31,0.22,0.18,0.24],"quality":0.87,"latency_ms":21.4,'
    b'"model":{"name":"mobilenet_v2","version":"1.0.0"},"replayed":false}'
)


def test_an_event_has_exactly_the_bytes_of_the_contract() -> None:
    assert event_to_json(EVENT) == GOLDEN


def test_an_event_comes_back_as_it_was_up_to_milliseconds() -> None:
    assert event_from_json(GOLDEN) == replace(EVENT, ts=CAPTURED.replace(microsecond=123000))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "change", "previous": "happiness", "emotion": "unknown", "confidence": 0.31},
        {"type": "end", "replayed": True, "track_duration": 12.345},
        {"box": Box(0.0, 0.0, 1.0, 1.0), "probabilities": {}},
        {"zone": "door"},
        {"emotion": "unknown", "reason": "dark"},
    ],
)
def test_what_was_written_once_is_written_the_same_again(changes: dict[str, Any]) -> None:
    written = event_to_json(event(1, **changes))
    assert event_to_json(event_from_json(written)) == written


def test_the_replayed_form_has_the_bytes_of_the_replayed_event() -> None:
    draw = random.Random(15)
    texts = ['"replayed":false}', 'a\\"b', "happiness", "\u2028é", "", '{"schema":1,', "x" * 300]

    def number() -> float:
        return draw.choice([0.0, 1.0, draw.random(), draw.uniform(-1e6, 1e6), 1e-9, 1e22])

    def text() -> str:
        return draw.choice(texts)

    for seq in range(2000):
        each = event(
            draw.choice([seq, 2**63, -1]),
            type=draw.choice(["start", "change", "end"]),
            node=text(),
            emotion=text(),
            previous=draw.choice([None, text()]),
            ts=datetime(draw.choice([1, 999, 2026, 9999]), 12, 31, 23, 59, tzinfo=timezone.utc),
            confidence=number(),
            probabilities={text(): number() for _ in range(draw.randrange(4))},
            box=Box(number(), number(), number(), number()),
            latency_ms=number(),
            model_version=text(),
            replayed=draw.random() < 0.2,
            zone=draw.choice([None, text()]),
            reason=draw.choice([None, text()]),
        )
        assert as_replayed(event_to_json(each)) == event_to_json(replace(each, replayed=True))
        name = text()
        assert as_replayed(event_to_json(each), name) == event_to_json(replace(each, replayed=True, node=name))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"schema":99}',
        GOLDEN.replace(b'"schema":1', b'"schema":2'),
        GOLDEN[:-1],
        GOLDEN + b"\n",
        GOLDEN.replace(b"false}", b"null}"),
    ],
)
def test_a_payload_of_another_form_has_no_replayed_form(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not an event of schema 1"):
        as_replayed(payload)


@pytest.mark.parametrize(("online", "payload"), [(True, b"online"), (False, b"offline"), (None, b"")])
def test_availability_has_the_payloads_of_the_contract_and_comes_back(online: bool | None, payload: bytes) -> None:
    assert availability_to_payload(online) == payload
    assert availability_from_payload(payload) is online


def test_fractions_are_rounded_to_four_decimals() -> None:
    data = json.loads(event_to_json(event(1, confidence=1 / 3, box=Box(1 / 3, 0.5, 2 / 3, 0.25))))
    assert (data["confidence"], data["box"]) == (0.3333, [0.3333, 0.5, 0.6667, 0.25])


@pytest.mark.parametrize("name", sorted(json.loads(GOLDEN).keys() - {"event_type"}))
def test_an_event_without_one_of_its_fields_is_refused(name: str) -> None:
    data = json.loads(GOLDEN)
    del data[name]
    with pytest.raises(ValueError, match=name):
        event_from_json(json.dumps(data).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", 2),
        ("type", "stop"),
        ("seq", "many"),
        ("ts", "2026-11-20 04:31"),
        ("ts", 5),
        ("confidence", None),
        ("probabilities", [0.1]),
        ("probabilities", {"neutral": "x"}),
        ("track", "01JD"),
        ("track", {"id": "01JD"}),
        ("box", [0.1, 0.2]),
        ("box", 1),
        ("model", None),
        ("zone", 5),
        ("reason", 5),
    ],
)
def test_an_event_with_an_impossible_value_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        event_from_json(json.dumps({**json.loads(GOLDEN), name: value}).encode())


@pytest.mark.parametrize(
    "change",
    [
        (b'"seq":4711', b'"seq":1e999'),
        (b'"seq":4711', b'"seq":4711.5'),
        (b'"confidence":0.93', b'"confidence":NaN'),
        (b'"confidence":0.93', b'"confidence":1e999'),
        (b'"node":"pi5"', b'"node":["pi5"]'),
        (b'"box":[0.31,', b'"box":["a",'),
    ],
)
def test_numbers_and_texts_that_are_none_are_refused(change: tuple[bytes, bytes]) -> None:
    assert change[0] in GOLDEN
    with pytest.raises(ValueError, match=r"expected|JSON"):
        event_from_json(GOLDEN.replace(*change))


@pytest.mark.parametrize("brackets", [b"[]", b'{"a":}'])
def test_deep_nesting_is_refused_before_it_is_parsed(brackets: bytes) -> None:
    """On no Python does it depend on how deep its own parser goes."""
    for depth in (*range(1, 2 * MAX_DEPTH), 984, 2000, 32_768):
        opened = brackets[:-1] * depth
        nested = opened + b"1" + brackets[-1:] * depth
        if depth <= MAX_DEPTH:
            read_json(nested)
            continue
        for payload in (nested, opened):
            with pytest.raises(ValueError, match="nested more than 32 deep"):
                event_from_json(payload)


def test_brackets_in_a_text_are_no_nesting() -> None:
    text = '[[{"\\' * 500
    assert read_json(json.dumps(text).encode()) == text
    for unfinished in (b'"' + b'\\"' * 32_000, b'["' + b"[" * 60_000):
        with pytest.raises(ValueError, match="Unterminated string"):
            read_json(unfinished)


@pytest.mark.parametrize("payload", [b"", b"online", b"[]", b"null", b'{"schema":1', b"\xff\xfe{}", GOLDEN[:-1]])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    for parse in (event_from_json, state_from_json):
        with pytest.raises(ValueError):
            parse(payload)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_without_json_form_is_refused_on_the_way_out(value: float) -> None:
    with pytest.raises(ValueError):
        event_to_json(event(1, quality=value))


def test_a_state_has_exactly_the_bytes_of_the_contract() -> None:
    assert state_to_json(state(2)) == (
        b'{"ts":"2026-11-20T04:31:07.123Z","faces":2,"emotion":"happiness","confidence":0.93,'
        b'"probabilities":{"neutral":0.07,"happiness":0.93},"counts":{"happiness":2}}'
    )
    assert state_to_json(state(0)) == (
        b'{"ts":"2026-11-20T04:31:07.123Z","faces":0,"emotion":null,"confidence":null,"probabilities":{},"counts":{}}'
    )


@pytest.mark.parametrize("faces", [0, 1, 3])
def test_a_state_comes_back_as_it_was_up_to_milliseconds(faces: int) -> None:
    expected = state(faces, ts=CAPTURED.replace(microsecond=123000))
    assert state_from_json(state_to_json(state(faces))) == expected


@pytest.mark.parametrize("name", ["ts", "faces", "emotion", "confidence", "probabilities", "counts"])
def test_a_state_without_one_of_its_fields_is_refused(name: str) -> None:
    data = json.loads(state_to_json(state()))
    del data[name]
    with pytest.raises(ValueError, match=name):
        state_from_json(json.dumps(data).encode())


def test_times_are_utc_with_milliseconds_whatever_zone_they_come_from() -> None:
    berlin = CAPTURED.astimezone(timezone(timedelta(hours=1)))
    assert format_time(berlin) == "2026-11-20T04:31:07.123Z"
    assert parse_time("2026-11-20T04:31:07.123Z") == datetime(2026, 11, 20, 4, 31, 7, 123000, tzinfo=timezone.utc)


def test_the_info_is_the_json_that_was_given() -> None:
    assert to_json({"version": "1.0", "cameras": ["desk"]}) == b'{"version":"1.0","cameras":["desk"]}'


def test_topics_stand_under_prefix_and_node() -> None:
    topics = Topics("home/emotion", "pi5")
    assert (topics.availability, topics.info) == ("home/emotion/pi5/availability", "home/emotion/pi5/info")
    assert topics.camera("desk", "events") == "home/emotion/pi5/desk/events"

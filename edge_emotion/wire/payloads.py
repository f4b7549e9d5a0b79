"""Payloads: each value, its wire form and the inverse side by side.

The MQTT contract is docs/reference/mqtt.md.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, datetime, timezone
from typing import Any

from edge_emotion.datatypes import Box, CameraState, EmotionEvent

SCHEMA = 1
"""Version of the MQTT contract, in every JSON payload."""

MAX_PAYLOAD = 65_536
"""Largest payload in bytes that a subscriber reads; an event has less than 1,000."""

MAX_DEPTH = 32
"""Deepest nesting of arrays and objects that is read; an event has two levels."""

DIGITS = 4
"""Decimals of probabilities and fractions."""

ONLINE, OFFLINE = b"online", b"offline"

CLEARED = b""
"""Payload that removes a retained topic from the broker (MQTT 5, 3.3.1.3)."""

_TEXT = rb'"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(
    rb'(\{"schema":%d,"type":"(?:start|change|end)","id":%b,"seq":-?[0-9]+,"node":)%b' % (SCHEMA, _TEXT, _TEXT)
)
_TYPE = re.compile(rb'\{"schema":%d,"type":"(start|change|end)"' % SCHEMA)
_TRACK, _STRING = b',"track":{"id":', re.compile(_TEXT)
_REPLAYED = b',"replayed":'
_TAIL = re.compile(rb'%b(?:true|false)((?:,"[a-z]+":%b)*\})' % (_REPLAYED, _TEXT))
"""The end of every event: ``replayed``, and fields that not every event has."""


_BRACKET_OR_TEXT = re.compile(rb"[\[\]{}]|%b?" % _TEXT, re.DOTALL)
"""A text without its end reaches to the end of the payload: this is searched once, not from each quote."""


def availability_to_payload(online: bool | None) -> bytes:
    """Whether a node or camera is online; None removes the retained topic."""
    return {True: ONLINE, False: OFFLINE, None: CLEARED}[online]


def availability_from_payload(payload: bytes) -> bool | None:
    """True for ``online``, False for ``offline``, None for an empty payload. Raises ValueError for any other."""
    try:
        return {ONLINE: True, OFFLINE: False, CLEARED: None}[payload]
    except KeyError:
        raise ValueError(f"expected online or offline, not {payload[:20]!r}") from None


def format_time(moment: datetime) -> str:
    """UTC as ISO 8601 with milliseconds: ``2026-11-20T04:31:07.123Z``."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def parse_time(text: str) -> datetime:
    """The inverse of ``format_time``. Raises ValueError for any other text, and for the years 1 and 9999.

    The edges of these years do not exist in every time zone: conversion to local time would fail.
    """
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    if moment.year in (MINYEAR, MAXYEAR):
        raise ValueError(f"the time {text} is not in the years {MINYEAR + 1} to {MAXYEAR - 1}")
    return moment


def event_to_json(event: EmotionEvent) -> bytes:
    """One event as compact JSON, UTF-8."""
    return to_json(
        {
            "schema": SCHEMA,
            "type": event.type,
            "id": event.id,
            "seq": event.seq,
            "node": event.node,
            "camera": event.camera,
            "ts": format_time(event.ts),
            "event_type": event.emotion,
            "emotion": event.emotion,
            "confidence": round(event.confidence, DIGITS),
            "probabilities": _rounded(event.probabilities),
            "previous": event.previous,
            "track": {
                "id": event.track_id,
                "started": format_time(event.track_started),
                "duration": round(event.track_duration, 3),
            },
            "box": [round(v, DIGITS) for v in (event.box.x, event.box.y, event.box.width, event.box.height)],
            "quality": round(event.quality, DIGITS),
            "latency_ms": round(event.latency_ms, 1),
            "model": {"name": event.model_name, "version": event.model_version},
            "replayed": event.replayed,
            **_given("zone", event.zone),
            **_given("reason", event.reason),
        }
    )


def event_from_json(payload: bytes) -> EmotionEvent:
    """The inverse of ``event_to_json``, up to its rounding. Raises ValueError with the field that is wrong."""
    data = read_object(payload)
    try:
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}, expected {SCHEMA}")
        if data["type"] not in ("start", "change", "end"):
            raise ValueError(f"type {data['type']!r} is none of start, change, end")
        track, model, previous = data["track"], data["model"], data["previous"]
        return EmotionEvent(
            type=data["type"],
            id=_text(data["id"]),
            seq=_whole(data["seq"]),
            node=_text(data["node"]),
            camera=_text(data["camera"]),
            ts=parse_time(data["ts"]),
            emotion=_text(data["emotion"]),
            confidence=_number(data["confidence"]),
            probabilities={name: _number(value) for name, value in data["probabilities"].items()},
            previous=None if previous is None else _text(previous),
            track_id=_text(track["id"]),
            track_started=parse_time(track["started"]),
            track_duration=_number(track["duration"]),
            box=Box(*map(_number, data["box"])),
            quality=_number(data["quality"]),
            latency_ms=_number(data["latency_ms"]),
            model_name=_text(model["name"]),
            model_version=_text(model["version"]),
            replayed=data["replayed"] is True,
            zone=_text(data["zone"]) if "zone" in data else None,
            reason=_text(data["reason"]) if "reason" in data else None,
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an event of schema {SCHEMA}: {type(error).__name__} {error}") from error


def as_replayed(payload: bytes, node: str | None = None) -> bytes:
    """The payload of the same event with ``replayed`` set, and of ``node`` if given, without parsing it.

    Equal to ``event_to_json`` of that event. Raises ValueError for a payload that ``event_to_json`` of this schema has
    not made.
    """
    end = max(0, payload.rfind(_REPLAYED))
    head, tail = _HEAD.match(payload), _TAIL.fullmatch(payload, end)
    if head is None or tail is None:
        raise ValueError(f"not an event of schema {SCHEMA}")
    begin = head[0] if node is None else head[1] + json.dumps(node, ensure_ascii=False).encode()
    return begin + payload[head.end() : end] + _REPLAYED + b"true" + tail[1]


def track_of(payload: bytes) -> tuple[bytes, bytes] | None:
    """Type and track of an event, as they are written, without parsing it; None if it is no event of this schema."""
    kind, at = _TYPE.match(payload), payload.find(_TRACK)
    track = _STRING.match(payload, at + len(_TRACK)) if at > 0 else None
    return None if kind is None or track is None else (kind[1], track[0])


def state_to_json(state: CameraState) -> bytes:
    """The current state of a camera as compact JSON."""
    return to_json(
        {
            "ts": format_time(state.ts),
            "faces": state.faces,
            "emotion": state.emotion,
            "confidence": None if state.confidence is None else round(state.confidence, DIGITS),
            "probabilities": _rounded(state.probabilities),
            "counts": dict(state.counts),
        }
    )


def state_from_json(payload: bytes) -> CameraState:
    """The inverse of ``state_to_json``, up to its rounding. Raises ValueError with the field that is wrong."""
    data = read_object(payload)
    try:
        return CameraState(
            ts=parse_time(data["ts"]),
            faces=_whole(data["faces"]),
            emotion=data["emotion"],
            confidence=data["confidence"],
            probabilities=dict(data["probabilities"]),
            counts=dict(data["counts"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a camera state: {type(error).__name__} {error}") from error


def to_json(data: Mapping[str, Any]) -> bytes:
    """Plain JSON values as compact JSON. Raises ValueError for NaN, infinity and unpaired surrogates."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_json(payload: bytes) -> Any:
    """Any JSON value. Raises ValueError for malformed JSON, NaN, infinity and nesting of more than MAX_DEPTH levels."""
    check_depth(payload)

    def refuse(number: str) -> float:
        raise ValueError(f"{number} is not a JSON number")

    return json.loads(payload, parse_constant=refuse)


def check_depth(payload: bytes) -> None:
    """Raises ValueError for JSON that is nested too deeply, before it is parsed: parsers are recursive."""
    depth = 0
    for token in _BRACKET_OR_TEXT.findall(payload):
        depth += (token in b"[{") - (token in b"]}")
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} deep")


def read_object(payload: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else."""
    data = read_json(payload)
    if not isinstance(data, dict):
        raise ValueError(f"expected a JSON object, not {type(data).__name__}")
    return data


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in probabilities.items()}


def _given(name: str, value: str | None) -> dict[str, str]:
    """A field that is left out if there is no value."""
    return {} if value is None else {name: value}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, not {value!r}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"expected a finite number, not {value!r}")
    return float(value)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"expected a whole number, not {value!r}")
    return value

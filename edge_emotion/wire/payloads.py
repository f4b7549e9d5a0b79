"""The wire form: values to JSON bytes and back, and the topic names. Each inverse stands beside its function.

Schema 1 of the MQTT contract, docs/reference/mqtt.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from edge_emotion.datatypes import Box, CameraState, EmotionEvent

ONLINE, OFFLINE = b"online", b"offline"
GONE = b""
"""As the payload of a retained topic: the broker forgets it (MQTT 5, 3.3.1.3)."""


SCHEMA = 1
DIGITS = 4
"""Decimals of probabilities and fractions on the wire."""


def format_time(moment: datetime) -> str:
    """UTC as ISO 8601 with milliseconds: ``2026-11-20T04:31:07.123Z``."""
    utc = moment.astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def parse_time(text: str) -> datetime:
    """The inverse of ``format_time``. Raises ValueError for anything else."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)


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
            **({} if event.zone is None else {"zone": event.zone}),
        }
    )


def event_from_json(payload: bytes) -> EmotionEvent:
    """The inverse of ``event_to_json``, up to its rounding. Raises ValueError saying what does not fit."""
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
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"not an event of schema {SCHEMA}: {type(error).__name__} {error}") from error


def state_to_json(state: CameraState) -> bytes:
    """What a camera sees now, as compact JSON."""
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
    """The inverse of ``state_to_json``, up to its rounding. Raises ValueError saying what does not fit."""
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
    """Plain JSON values as compact JSON. Raises ValueError for NaN, infinity and halves of characters."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def read_json(payload: bytes) -> Any:
    """Any JSON value. Raises ValueError for what is none, NaN and infinity, and what is nested too deeply."""

    def refuse(number: str) -> float:
        raise ValueError(f"{number} is no number of JSON")

    try:
        return json.loads(payload, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def read_object(payload: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else."""
    data = read_json(payload)
    if not isinstance(data, dict):
        raise ValueError(f"a JSON object was expected, not {type(data).__name__}")
    return data


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in probabilities.items()}


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


def read_availability(payload: bytes) -> bool | None:
    """True for online, None for an empty payload. Raises ValueError for anything but online, offline, nothing."""
    try:
        return {b"online": True, b"offline": False, b"": None}[payload]
    except KeyError:
        raise ValueError(f"expected online or offline, not {payload[:20]!r}") from None

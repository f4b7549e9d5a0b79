"""Messages of nodes as values. Nothing in a payload is trusted: it is checked against the contract and its topic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from edge_emotion.client.gaps import Arrival
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.wire.hours import FaceHour
from edge_emotion.wire.payloads import MAX_PAYLOAD, SCHEMA, event_from_json, state_from_json
from edge_emotion.wire.topics import Address


class AnotherSchema(ValueError):  # noqa: N818 - says it all
    """A payload of another version of the contract; the message gives the remedy."""


@dataclass(frozen=True, slots=True)
class EventReceived:
    """An event, its arrival compared with earlier ones, the time when it was received (UTC), and its payload.

    ``missed`` events of its node are missing before it, including those of cameras that were filtered out.
    """

    event: EmotionEvent
    arrival: Arrival
    missed: int
    received_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class StateReceived:
    """Current state of a camera; None if the retained topic was cleared."""

    node: str
    camera: str
    state: CameraState | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class AvailabilityReceived:
    """Whether a node (``camera`` is None) or a camera is online; None if the retained topic was cleared."""

    node: str
    camera: str | None
    online: bool | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class StatsReceived:
    """Statistics of a node: the last hour of each camera that classified a face in it."""

    node: str
    hours: Mapping[str, FaceHour]
    received_at: datetime


Item = EventReceived | StateReceived | AvailabilityReceived | StatsReceived


def read_event(address: Address, payload: bytes) -> EmotionEvent:
    """The event. Raises AnotherSchema for one of another schema, ValueError if it is none or not from ``address``."""
    _limit(payload)
    try:
        event = event_from_json(payload)
    except ValueError as error:
        schema = _schema_of(payload)
        if schema is None or schema == SCHEMA:
            raise
        raise AnotherSchema(
            f"it is of schema {schema!r:.20}, this subscriber supports {SCHEMA}: install the version of "
            f"edge-emotion that runs on {address.node}"
        ) from error
    if (event.node, event.camera) != (address.node, address.camera):
        raise ValueError(f"its payload comes from {event.node!r:.70}, camera {event.camera!r:.70}")
    return event


def read_state(payload: bytes) -> CameraState | None:
    """The state, None for an empty payload. Raises ValueError for any other payload."""
    if not payload:
        return None
    _limit(payload)
    state = state_from_json(payload)
    texts = (state.emotion or "", *state.probabilities, *state.counts)
    numbers = (state.confidence or 0.0, *state.probabilities.values(), *state.counts.values())
    if not (all(isinstance(each, str) for each in texts) and all(isinstance(each, (int, float)) for each in numbers)):
        raise ValueError("not a camera state: names or numbers of another type")
    return state


def _limit(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes, more than the limit of {MAX_PAYLOAD}")


def _schema_of(payload: bytes) -> object:
    """The field ``schema`` of a JSON object; None if there is none."""
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return data.get("schema") if isinstance(data, dict) else None

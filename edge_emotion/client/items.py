"""What comes from a node, as values: the topics and payloads of the contract, read by somebody who trusts nobody."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from edge_emotion.client.gaps import Arrival
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.wire.payloads import SCHEMA, event_from_json, state_from_json
from edge_emotion.wire.topics import Address

LARGEST = 65_536
"""Bytes of a payload at most; an event has less than 1,000."""


class AnotherSchema(ValueError):  # noqa: N818 - says it all
    """A payload of another version of the contract; the message says what to do."""


@dataclass(frozen=True, slots=True)
class EventReceived:
    """An event, how it fits to the ones before it, when it came (UTC), and the bytes it came as.

    ``missed`` events of its node are missing before it, those of cameras that were filtered out included.
    """

    event: EmotionEvent
    arrival: Arrival
    missed: int
    received_at: datetime
    payload: bytes


@dataclass(frozen=True, slots=True)
class StateReceived:
    """What a camera sees now; ``state`` is None when the broker was told to forget it."""

    node: str
    camera: str
    state: CameraState | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class AvailabilityReceived:
    """A node (``camera`` is None) or one of its cameras is online or not; None: the broker was told to forget it."""

    node: str
    camera: str | None
    online: bool | None
    received_at: datetime


Item = EventReceived | StateReceived | AvailabilityReceived


def read_event(address: Address, payload: bytes) -> EmotionEvent:
    """The event. Raises ValueError for what is none or claims to come from elsewhere, AnotherSchema."""
    _limit(payload)
    try:
        event = event_from_json(payload)
    except ValueError as error:
        schema = _schema_of(payload)
        if schema is None or schema == SCHEMA:
            raise
        raise AnotherSchema(
            f"it is of schema {schema!r:.20}, this subscriber understands {SCHEMA}: install the version of "
            f"edge-emotion that runs on {address.node}"
        ) from error
    if (event.node, event.camera) != (address.node, address.camera):
        raise ValueError(f"it says that it comes from {event.node!r:.70}, camera {event.camera!r:.70}")
    return event


def read_state(payload: bytes) -> CameraState | None:
    """The state, None for an empty payload. Raises ValueError for what is none."""
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
    if len(payload) > LARGEST:
        raise ValueError(f"{len(payload)} bytes are more than the {LARGEST} of the largest message")


def _schema_of(payload: bytes) -> object:
    """What a JSON object says of its schema; None if it is no object or says nothing."""
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return data.get("schema") if isinstance(data, dict) else None

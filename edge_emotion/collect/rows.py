"""Events as rows of the tables ``emotion_event`` and ``emotion_day``. No database, no clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta, timezone
from typing import Any, NamedTuple

from edge_emotion.client import EventReceived, StatsReceived
from edge_emotion.wire.hours import EDGES

Row = tuple[Any, ...]

_EVENT: dict[str, tuple[str, Callable[[EventReceived], Any]]] = {
    "node": ("text", lambda item: item.event.node),
    "seq": ("bigint", lambda item: item.event.seq),
    "id": ("text", lambda item: item.event.id),
    "ts": ("timestamptz", lambda item: item.event.ts),
    "received_at": ("timestamptz", lambda item: item.received_at),
    "camera": ("text", lambda item: item.event.camera),
    "zone": ("text", lambda item: item.event.zone),
    "type": ("text", lambda item: item.event.type),
    "emotion": ("text", lambda item: item.event.emotion),
    "previous": ("text", lambda item: item.event.previous),
    "reason": ("text", lambda item: item.event.reason),
    "confidence": ("double precision", lambda item: float(item.event.confidence)),
    "probabilities": ("json", lambda item: json.dumps(dict(item.event.probabilities), ensure_ascii=False)),
    "quality": ("double precision", lambda item: float(item.event.quality)),
    "latency_ms": ("double precision", lambda item: float(item.event.latency_ms)),
    "track": ("text", lambda item: item.event.track_id),
    "track_started": ("timestamptz", lambda item: item.event.track_started),
    "track_duration": ("double precision", lambda item: float(item.event.track_duration)),
    "box_x": ("double precision", lambda item: float(item.event.box.x)),
    "box_y": ("double precision", lambda item: float(item.event.box.y)),
    "box_width": ("double precision", lambda item: float(item.event.box.width)),
    "box_height": ("double precision", lambda item: float(item.event.box.height)),
    "model": ("text", lambda item: item.event.model_name),
    "model_version": ("text", lambda item: item.event.model_version),
    "replayed": ("boolean", lambda item: item.event.replayed),
}
"""Column of ``emotion_event`` -> its type, and its value."""

EVENT_COLUMNS = {"prefix": "text"} | {name: kind for name, (kind, _) in _EVENT.items()}
"""Column of ``emotion_event`` -> its type."""

DAY_KEY = {"day": "date", "prefix": "text", "node": "text", "camera": "text", "emotion": "text"}
DAY_SUMS = {
    "starts": "bigint",
    "changes": "bigint",
    "ends": "bigint",
    "visit_seconds": "double precision",
    "confidence_sum": "double precision",
    "quality_sum": "double precision",
    "latency_ms_sum": "double precision",
    "latency_ms_max": "double precision",
}
"""Columns of ``emotion_day`` and their types; the last one is a maximum."""


HOUR_COLUMNS = {"hour": "timestamptz", "prefix": "text", "node": "text", "camera": "text"}
HOUR_COLUMNS |= {"received_at": "timestamptz", "faces": "bigint", **dict.fromkeys((*EDGES, "emotions"), "json")}
"""Column of ``emotion_hour`` -> its type."""

LATEST = timedelta(days=1)
"""An hour that was received so much later or earlier is of a node with a wrong clock, and is not stored."""


class Key(NamedTuple):
    """What makes an event the same one: a node that has lost its counter uses a number again with another id."""

    prefix: str
    node: str
    seq: int
    id: str


def key_of(prefix: str, item: EventReceived) -> Key:
    """The key of an event."""
    return Key(prefix, item.event.node, item.event.seq, item.event.id)


def event_rows(items: dict[Key, EventReceived]) -> list[Row]:
    """Rows of ``emotion_event``, in the order of the keys. Raises UnicodeEncodeError for a text with a surrogate."""
    rows = [(key.prefix, *(value(items[key]) for _, value in _EVENT.values())) for key in sorted(items)]
    for row in rows:
        "".join(value for value in row if isinstance(value, str)).encode()
    return rows


def day_rows(items: Iterable[tuple[Key, EventReceived]]) -> list[Row]:
    """Rows to add to ``emotion_day``, in the order of their keys."""
    sums: dict[Row, list[float]] = {}
    for key, item in items:
        event = item.event
        day = event.ts.astimezone(timezone.utc).date()
        row = sums.setdefault(
            (day, key.prefix, event.node, event.camera, event.emotion), [0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0]
        )
        row[("start", "change", "end").index(event.type)] += 1
        added = (
            event.track_duration if event.type == "end" else 0.0,
            event.confidence,
            event.quality,
            event.latency_ms,
        )
        for index, value in enumerate(added, 3):
            row[index] += value
        row[7] = max(row[7], event.latency_ms)
    return [(*key, *sums[key]) for key in sorted(sums)]


def hour_rows(prefix: str, items: Iterable[StatsReceived]) -> list[Row]:
    """Rows of ``emotion_hour``, one for each key, in the order of the keys."""
    rows: dict[Row, Row] = {}
    for item in items:
        for camera, hour in item.hours.items():
            if abs(item.received_at - hour.start) <= LATEST:
                bins = [json.dumps(hour.histograms[name]) for name in EDGES]
                emotions = json.dumps(dict(hour.emotions), ensure_ascii=False)
                key = (hour.start, prefix, item.node, camera)
                rows.setdefault(key, (item.received_at, hour.faces, *bins, emotions))
    return [(*key, *rows[key]) for key in sorted(rows)]


def columns(rows: Sequence[Row]) -> list[list[Any]]:
    """The rows as one list for each column."""
    return [list(column) for column in zip(*rows, strict=True)]

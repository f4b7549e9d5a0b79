"""Histograms of the faces of one hour, in ``stats``: their bins, their wire form and its inverse.

The bins are fixed: histograms of different nodes, hours and versions can be added and compared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from edge_emotion.wire.payloads import MAX_PAYLOAD, format_time, parse_time, read_object
from edge_emotion.wire.topics import NAME_PATTERN

_TENTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

EDGES: dict[str, tuple[float, ...]] = {
    "confidence": _TENTHS,
    "quality": _TENTHS,
    "size": (24, 32, 48, 64, 96, 128, 192, 256, 384),
    "score": (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98),
}
"""Histogram -> where one bin ends and the next begins, which includes the edge; ten bins.

Size is the longer side of the face's box in pixels, score that of the detector; the others are those of an event.
"""

MAX_LABELS = 64
"""Most emotions of an hour that are read, and most characters of a name."""

_MOST = 2**53
"""Largest count that is read."""


@dataclass(frozen=True, slots=True)
class FaceHour:
    """The faces that were classified in the hour from ``start`` (UTC) on: one count each time that a face was.

    ``histograms`` has one for each name in ``EDGES``; every one of them, and ``emotions``, sums to ``faces``.
    """

    start: datetime
    faces: int
    histograms: Mapping[str, tuple[int, ...]]
    emotions: Mapping[str, int]


def hour_to_object(hour: FaceHour) -> dict[str, Any]:
    """The hour as plain JSON values."""
    histograms = {name: list(hour.histograms[name]) for name in EDGES}
    return {"start": format_time(hour.start), "faces": hour.faces, **histograms, "emotions": dict(hour.emotions)}


def hour_from_object(data: Any) -> FaceHour:
    """The inverse of ``hour_to_object``. Raises ValueError with the field that is wrong."""
    try:
        start, faces = parse_time(data["start"]), _count(data["faces"])
        histograms = {name: tuple(map(_count, data[name])) for name in EDGES}
        emotions = {_label(name): _count(count) for name, count in data["emotions"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no hour of histograms: {type(error).__name__} {error}") from error
    if (start.minute, start.second, start.microsecond) != (0, 0, 0):
        raise ValueError(f"{data['start']} is not the beginning of an hour")
    if len(emotions) > MAX_LABELS:
        raise ValueError(f"{len(emotions)} emotions, more than {MAX_LABELS}")
    for name, counts in (*histograms.items(), ("emotions", tuple(emotions.values()))):
        if name in EDGES and len(counts) != len(EDGES[name]) + 1:
            raise ValueError(f"{name} has {len(counts)} bins, expected {len(EDGES[name]) + 1}")
        if sum(counts) != faces:
            raise ValueError(f"{name} sums to {sum(counts)}, not to faces, {faces}")
    return FaceHour(start, faces, histograms, emotions)


def hours_from_stats(payload: bytes) -> dict[str, FaceHour]:
    """Camera -> its last hour, of those that have one, from a payload of ``stats``. Raises ValueError."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"{len(payload)} bytes, more than the limit of {MAX_PAYLOAD}")
    cameras = read_object(payload).get("cameras")
    if not isinstance(cameras, dict) or not all(isinstance(figures, dict) for figures in cameras.values()):
        raise ValueError("these are no statistics: cameras is no object of objects")
    for name in cameras:
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(f"{name!r:.70} is not a valid name of a camera")
    return {name: hour_from_object(figures["hour"]) for name, figures in cameras.items() if "hour" in figures}


def bin_names(name: str) -> list[str]:
    """The bins of a histogram for people: below 24, 24 to 32, ..., 384 or more."""
    edges = EDGES[name]
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"{edges[-1]:g} or more"]


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise TypeError(f"expected a count, not {value!r:.40}")
    return value


def _label(name: str) -> str:
    if not 0 < len(name) <= MAX_LABELS or not name.isprintable():
        raise TypeError(f"{name!r:.70} is no name of an emotion")
    return name

"""The values that pass through the pipeline. All are frozen: a stage creates new values and never changes old ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_emotion.labels import UNKNOWN

Image = npt.NDArray[np.uint8]
"""H x W x 3, uint8, channels B, G, R."""

EventType = Literal["start", "change", "end"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one camera.

    ``timestamp`` is monotonic seconds (for durations), ``captured_at`` is UTC (for people),
    ``sequence`` counts the frames that this camera gave, from 0.
    """

    image: Image = field(repr=False)
    timestamp: float
    captured_at: datetime
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle; in pixels unless stated otherwise, origin at the top left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """The middle point (x, y)."""
        return self.x + self.width / 2, self.y + self.height / 2

    def iou(self, other: Box) -> float:
        """Intersection over union with ``other``, 0 to 1."""
        common = self._common(other)
        return common / (self.area + other.area - common) if common else 0.0

    def covered_by(self, other: Box) -> float:
        """Share of the area that ``other`` covers, 0 to 1."""
        common = self._common(other)
        return common / self.area if common else 0.0

    def _common(self, other: Box) -> float:
        width = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        height = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return width * height if width > 0 and height > 0 else 0.0

    def clip(self, width: float, height: float) -> Box:
        """The part inside a picture of the given size; its area may be 0."""
        left, top = min(max(self.x, 0.0), width), min(max(self.y, 0.0), height)
        right = min(max(self.x + self.width, 0.0), width)
        bottom = min(max(self.y + self.height, 0.0), height)
        return Box(left, top, right - left, bottom - top)

    def scaled(self, fx: float, fy: float) -> Box:
        """Multiplied by ``fx`` along x and ``fy`` along y (1/width, 1/height gives fractions of a picture)."""
        return Box(self.x * fx, self.y * fy, self.width * fx, self.height * fy)

    def moved(self, dx: float, dy: float) -> Box:
        """The same rectangle, shifted."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)


@dataclass(frozen=True, slots=True)
class Face:
    """A detected face.

    ``landmarks`` are pixel positions in BlazeFace's order, as seen in the picture: left-hand eye, right-hand eye,
    nose tip, mouth centre, left-hand ear, right-hand ear. A detector without landmarks leaves them empty.
    """

    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...] = ()

    @property
    def roll(self) -> float:
        """Angle of the line through the eyes in radians, clockwise in the picture; 0 without landmarks."""
        if len(self.landmarks) < 2:
            return 0.0
        (left_x, left_y), (right_x, right_y) = self.landmarks[:2]
        return math.atan2(right_y - left_y, right_x - left_x)

    def moved(self, dx: float, dy: float) -> Face:
        """The same face with all positions shifted: from the pixels of a part of a picture to those of the picture."""
        return Face(self.box.moved(dx, dy), self.score, tuple((x + dx, y + dy) for x, y in self.landmarks))


@dataclass(frozen=True, slots=True)
class EmotionScores:
    """A distribution over emotions: ``probabilities[i]`` belongs to ``labels[i]`` and they sum to 1."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def best(self) -> int:
        """Position of the most probable emotion; the first one of equals."""
        return max(range(len(self.labels)), key=self.probabilities.__getitem__)

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return self.labels[self.best]

    @property
    def confidence(self) -> float:
        """Probability of the most probable emotion."""
        return self.probabilities[self.best]

    def named(self, threshold: float) -> str:
        """The most probable emotion, or 'unknown' if its probability is below ``threshold``."""
        return self.emotion if self.confidence >= threshold else UNKNOWN

    def likely(self, least: float) -> tuple[str, ...]:
        """The emotions with a probability of at least ``least``, the most probable one first and always there."""
        order = sorted(range(len(self.labels)), key=lambda index: -self.probabilities[index])
        return tuple(self.labels[index] for index in order if index == order[0] or self.probabilities[index] >= least)

    def as_dict(self) -> dict[str, float]:
        """Label to probability, in the order of the labels."""
        return dict(zip(self.labels, self.probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class Track:
    """One face over time. Times are monotonic seconds; ``started_at`` is the UTC capture time at its start."""

    id: str
    face: Face
    first_seen: float
    last_seen: float
    started_at: datetime
    hits: int = 1
    confirmed: bool = False

    @property
    def duration(self) -> float:
        """Seconds between the first and the last detection."""
        return self.last_seen - self.first_seen


@dataclass(frozen=True, slots=True)
class EmotionEvent:
    """The only value that leaves the device. It has no field for a picture: privacy holds by type.

    ``box`` is in fractions of the frame, ``zone`` the named part of it that holds the middle of the box, if any.
    ``emotion`` may be ``unknown``; ``confidence`` belongs to it. ``latency_ms`` is capture to hand-over to the sinks.
    ``reason`` is what is wrong with the picture of an unknown face, or ``interrupted`` where a track has ended although
    the face may not have left; None otherwise.
    """

    type: EventType
    id: str
    seq: int
    node: str
    camera: str
    ts: datetime
    emotion: str
    confidence: float
    probabilities: Mapping[str, float]
    previous: str | None
    track_id: str
    track_started: datetime
    track_duration: float
    box: Box
    quality: float
    latency_ms: float
    model_name: str
    model_version: str
    replayed: bool = False
    zone: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CameraState:
    """The faces in view of a camera now; emotion and probabilities are those of the largest one, None without any."""

    ts: datetime
    faces: int
    emotion: str | None
    confidence: float | None
    probabilities: Mapping[str, float]
    counts: Mapping[str, int]

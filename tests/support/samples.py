"""Values for tests: one plain event, one plain state."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from edge_emotion.datatypes import Box, CameraState, EmotionEvent

CAPTURED = datetime(2026, 11, 20, 4, 31, 7, 123456, tzinfo=timezone.utc)

EVENT = EmotionEvent(
    type="start",
    id="01JD0000000000000000000001",
    seq=4711,
    node="pi5",
    camera="desk",
    ts=CAPTURED,
    emotion="happiness",
    confidence=0.93,
    probabilities={"neutral": 0.03, "happiness": 0.93, "surprise": 0.04},
    previous=None,
    track_id="01JD0000000000000000000002",
    track_started=datetime(2026, 11, 20, 4, 31, 6, 900000, tzinfo=timezone.utc),
    track_duration=0.2,
    box=Box(0.31, 0.22, 0.18, 0.24),
    quality=0.87,
    latency_ms=21.4,
    model_name="mobilenet_v2",
    model_version="1.0.0",
)


def event(seq: int, **changes: Any) -> EmotionEvent:
    """The sample event with its number, an id that belongs to it, and other changes."""
    return replace(EVENT, seq=seq, id=f"01JD{seq:022d}", **changes)


def state(faces: int = 1, **changes: Any) -> CameraState:
    """A camera that sees ``faces`` happy faces."""
    seen = faces > 0
    plain = CameraState(
        ts=CAPTURED,
        faces=faces,
        emotion="happiness" if seen else None,
        confidence=0.93 if seen else None,
        probabilities={"neutral": 0.07, "happiness": 0.93} if seen else {},
        counts={"happiness": faces} if seen else {},
    )
    return replace(plain, **changes)

"""The faces of one frame as they are drawn: places as fractions, landmarks, probabilities. No picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge_emotion.datatypes import Face
from edge_emotion.pipeline.pipeline import FaceNow
from edge_emotion.wire.payloads import DIGITS, format_time


@dataclass(frozen=True, slots=True)
class FrameView:
    """One processed frame of a camera: its size in pixels, its faces, frames per second, latency in ms."""

    camera: str
    ts: datetime
    width: int
    height: int
    fps: float
    latency_ms: float
    faces: tuple[FaceNow, ...]

    def as_dict(self) -> dict[str, Any]:
        """The data of the message ``frame``."""
        return {
            "camera": self.camera,
            "ts": format_time(self.ts),
            "width": self.width,
            "height": self.height,
            "fps": round(self.fps, 2),
            "latency_ms": round(self.latency_ms, 1),
            "faces": [self._face(face) for face in self.faces],
        }

    def _face(self, now: FaceNow) -> dict[str, Any]:
        emotion, reason = now.emotion, now.emotion.reason
        return {
            "track": now.track.id,
            **placed(now.track.face, self.width, self.height),
            "probabilities": rounded(emotion.scores.as_dict()),
            "emotion": emotion.emotion,
            "confidence": round(emotion.confidence, DIGITS),
            "quality": round(now.quality, DIGITS),
            **({} if reason is None else {"reason": reason}),
        }


def placed(face: Face, width: int, height: int) -> dict[str, Any]:
    """Box, landmarks and score of a face; places as fractions of a picture of so many pixels."""
    box = face.box.clip(width, height).scaled(1 / width, 1 / height)
    return {
        "box": fractions((box.x, box.y, box.width, box.height)),
        "landmarks": [fractions((x / width, y / height)) for x, y in face.landmarks],
        "score": round(face.score, DIGITS),
    }


def fractions(values: Sequence[float]) -> list[float]:
    """Numbers with as many decimals as in events."""
    return [round(value, DIGITS) for value in values]


def rounded(probabilities: dict[str, float]) -> dict[str, float]:
    """Probabilities with as many decimals as in events."""
    return {name: round(value, DIGITS) for name, value in probabilities.items()}

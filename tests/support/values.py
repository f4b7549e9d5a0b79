"""Short ways to write faces, frames and scores."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np

from edge_emotion.datatypes import Box, EmotionScores, Face, Frame, Image
from edge_emotion.labels import EMOTIONS

EPOCH = datetime(2026, 11, 20, 4, 31, 7, tzinfo=timezone.utc)


def face(x: float = 100, y: float = 100, size: float = 80, score: float = 0.9) -> Face:
    """A face without landmarks."""
    return Face(Box(x, y, size, size), score)


def frame(seconds: float, image: Image | None = None) -> Frame:
    """A frame some seconds after a fixed moment."""
    picture = np.zeros((480, 640, 3), np.uint8) if image is None else image
    return Frame(picture, seconds, EPOCH + timedelta(seconds=seconds), round(seconds * 1000))


def scores(**probabilities: float) -> EmotionScores:
    """A distribution: what is not named shares the rest."""
    others = [label for label in EMOTIONS if label not in probabilities]
    rest = (1 - sum(probabilities.values())) / len(others)
    return EmotionScores(EMOTIONS, tuple(probabilities.get(label, rest) for label in EMOTIONS))

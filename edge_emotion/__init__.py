"""Facial expressions on the edge: camera frames in, emotion events out, no pixel leaves the device."""

from edge_emotion.datatypes import Box, EmotionEvent, EmotionScores, Face, Frame, Track
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.labels import EMOTIONS, UNKNOWN

__version__ = "0.1.0"

__all__ = [
    "EMOTIONS",
    "UNKNOWN",
    "Box",
    "EdgeEmotionError",
    "EmotionEvent",
    "EmotionScores",
    "Face",
    "Frame",
    "Track",
    "__version__",
]

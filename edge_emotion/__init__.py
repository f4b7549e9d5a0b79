"""Facial expressions on the edge: camera frames in, emotion events out, no pixel leaves the device."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_PLACES = {"EdgeEmotionError": "errors", "EMOTIONS": "labels", "UNKNOWN": "labels"}
"""Name -> its module; all others are in datatypes."""


def __getattr__(name: str) -> Any:
    """Import a name when it is used: the command line starts without numpy, and Ctrl-C then ends it quietly."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'datatypes')}"), name)

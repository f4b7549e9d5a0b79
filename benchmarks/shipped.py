"""Models with the settings that ship: what a user has who sets nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_emotion.config import DetectorSettings
from train.choices import DETECTOR

if TYPE_CHECKING:
    from edge_emotion.detectors.blazeface import BlazeFaceDetector


def shipped_detector(name: str = DETECTOR) -> BlazeFaceDetector:
    """A detector with the daemon's threshold, least size and number of faces. Raises ModelError, BackendUnavailable."""
    from edge_emotion.factory import configured_detector

    return configured_detector(DetectorSettings(model=name))

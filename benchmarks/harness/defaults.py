"""Models and pipelines with the settings that ship: what a user has who sets nothing."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings, PolicySettings, TrackingSettings
from train.choices import DETECTOR

if TYPE_CHECKING:
    from edge_emotion.factory.models import ModelDetector, Models
    from edge_emotion.pipeline.pipeline import Pipeline


def shipped_detector(name: str = DETECTOR) -> ModelDetector:
    """A detector with the daemon's threshold, least size and number of faces. Raises ModelError, BackendUnavailable."""
    from edge_emotion.factory.models import configured_detector

    return configured_detector(DetectorSettings(model=name))


def shipped_pipeline(
    models: Models,
    *,
    policy: PolicySettings | None = None,
    interval: float = ClassifierSettings().interval,
    idle_interval: float = DetectorSettings().idle_interval,
    next_seq: Callable[[], int] | None = None,
) -> Pipeline:
    """The daemon's pipeline; its arguments are what a benchmark may have otherwise."""
    from edge_emotion.factory.cameras import make_pipeline

    return make_pipeline(
        "benchmark",
        "benchmark",
        models.detector,
        models.classifier,
        near=models.near,
        tracking=TrackingSettings(),
        policy=policy or PolicySettings(),
        interval=interval,
        idle_interval=idle_interval,
        refresh_interval=DetectorSettings().refresh_interval,
        next_seq=next_seq or count(1).__next__,
    )

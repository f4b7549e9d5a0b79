"""Detectors and pipelines with the daemon's default settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from edge_emotion.config.loader import load
from edge_emotion.config.settings import DetectorSettings
from train.choices import DETECTOR

if TYPE_CHECKING:
    from edge_emotion.factory.models import ModelDetector, Models
    from edge_emotion.pipeline.pipeline import Pipeline


def default_detector(name: str = DETECTOR) -> ModelDetector:
    """A detector with the daemon's default threshold, smallest face and number of faces.

    Raises ModelError, BackendUnavailable.
    """
    from edge_emotion.factory.models import configured_detector

    return configured_detector(DetectorSettings(model=name))


def default_pipeline(models: Models, *, next_seq: Callable[[], int] | None = None, **changes: Any) -> Pipeline:
    """A pipeline with the daemon's default settings; ``changes`` replace fields of PipelineSettings."""
    from edge_emotion.factory.cameras import make_pipeline, pipeline_settings

    tree = {"node": "benchmark", "cameras": {"benchmark": {"source": "0"}}, "jsonl": {}}
    defaults = pipeline_settings(load(None, tree, environment=False), "benchmark")
    return make_pipeline(replace(defaults, **changes), models, next_seq or count(1).__next__)

"""Pipelines with a classifier that is told its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.config.loader import load
from edge_emotion.config.settings import Settings
from edge_emotion.datatypes import Face
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.factory.cameras import pipeline_settings
from edge_emotion.factory.models import make_classifier
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.protocols import FaceDetector, FloatArray, ModelInput

ANY_QUALITY = dict.fromkeys(("dark", "blurred", "turned", "hidden_eyes", "hidden_mouth", "small"), 0.0)
"""Settings that judge no picture."""


class Moods(ConstantBackend):
    """A backend whose answer a test can change; several emotions are for the faces of a batch in their order."""

    def __init__(self, *emotions: str) -> None:
        super().__init__((96, 96, 1), [np.zeros(len(EMOTIONS), np.float32)])
        self.show(*emotions)

    def show(self, *emotions: str) -> None:
        self._emotions = emotions

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        super().run(batch)
        rows = [self._emotions[min(row, len(self._emotions) - 1)] for row in range(len(batch))]
        return (np.array([[8.0 * (label == emotion) for label in EMOTIONS] for emotion in rows], np.float32),)


def settings_with(**sections: Any) -> Settings:
    """The settings that ship, for the camera ``desk`` of the node ``pi5``, with these sections otherwise."""
    tree = {"node": "pi5", "cameras": {"desk": {"source": "0"}}, "jsonl": {}, **sections}
    return load(None, tree, environment=False)


def make(
    script: Sequence[Sequence[Face]] | FaceDetector,
    backend: Moods,
    *,
    interval: float = 0.0,
    idle_interval: float = 0.0,
    time_constant: float = 0.0,
    quality: Mapping[str, float] = ANY_QUALITY,
    ignore_still: bool = False,
) -> Pipeline:
    """A pipeline whose tracks and events are named id1, id2, ...; a script is what its detector finds."""
    events, names = count(1), count(1)
    settings = settings_with(
        classifier={"interval": interval},
        detector={"idle_interval": idle_interval},
        policy={"time_constant": time_constant},
        quality=quality,
        cameras={"desk": {"source": "0", "ignore_still": ignore_still}},
    )
    return Pipeline(
        pipeline_settings(settings, "desk"),
        ScriptedDetector(script) if isinstance(script, Sequence) else script,
        EmotionClassifier(make_classifier("mobilenet_v2").manifest, backend),
        next_seq=lambda: next(events),
        make_id=lambda moment: f"id{next(names)}",
    )

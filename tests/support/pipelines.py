"""Pipelines with a classifier that is told its answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np

from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.datatypes import Face
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.factory.models import make_classifier
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.pipeline.policy import Policy
from edge_emotion.pipeline.smoothing import Smoother
from edge_emotion.pipeline.tracking import Tracker
from edge_emotion.protocols import FloatArray


class Moods(ConstantBackend):
    """A backend whose answer a test can change; several emotions are for the faces of a batch in their order."""

    def __init__(self, *emotions: str) -> None:
        super().__init__((96, 96, 1), [np.zeros(len(EMOTIONS), np.float32)])
        self.show(*emotions)

    def show(self, *emotions: str) -> None:
        self._emotions = emotions

    def run(self, batch: FloatArray) -> tuple[FloatArray, ...]:
        super().run(batch)
        rows = [self._emotions[min(row, len(self._emotions) - 1)] for row in range(len(batch))]
        return (np.array([[8.0 * (label == emotion) for label in EMOTIONS] for emotion in rows], np.float32),)


def make(
    script: Sequence[Sequence[Face]],
    backend: Moods,
    *,
    interval: float = 0.0,
    idle_interval: float = 0.0,
    time_constant: float = 0.0,
) -> Pipeline:
    numbers, events = count(1), count(1)
    return Pipeline(
        node="pi5",
        camera="desk",
        detector=ScriptedDetector(script),
        tracker=Tracker(iou=0.2, confirm_hits=3, max_gap=0.8, make_id=lambda moment: f"t{next(numbers)}"),
        classifier=EmotionClassifier(make_classifier("mobilenet_v2").manifest, backend),
        smoother=Smoother(time_constant),
        policy=Policy(threshold=0.5, hysteresis=0.1, min_dwell=0.5),
        interval=interval,
        idle_interval=idle_interval,
        next_seq=lambda: next(events),
        make_id=lambda moment: "e",
    )

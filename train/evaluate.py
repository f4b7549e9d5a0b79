"""Measuring a classifier on labelled face crops: the float model of a run, or any artefact of the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_emotion.classifier import EmotionClassifier, softmax
from edge_emotion.factory import make_classifier
from edge_emotion.manifest import Metrics
from train.faces import Faces
from train.metrics import measure
from train.predict import logits_of, logits_of_target
from train.run_directory import RECORD


def measure_classifier(classifier: EmotionClassifier, faces: Faces) -> Metrics:
    """All figures of a classifier, with its operating point, on faces labelled with every emotion it knows."""
    scores = classifier.scores(logits_of(classifier.backend, faces, classifier.manifest.input))
    return measure(faces.labels, np.array([row.probabilities for row in scores]), classifier.labels)


def evaluate(target: Path, faces: Faces, *, operating_point: str | None = None) -> Metrics:
    """Measure a run directory (its best float model, plain softmax) or a model folder (through the runtime).

    Raises ConfigError or ModelError if it is neither.
    """
    if not (target / RECORD).is_file():
        return measure_classifier(make_classifier(str(target), operating_point=operating_point), faces)
    prediction = logits_of_target(target, faces)
    return measure(faces.labels, softmax(prediction.logits.astype(np.float64)), prediction.classes)


def as_text(figures: Metrics) -> str:
    """The figures as a few lines, recall per class with its n."""
    low, high = figures.interval
    recalls = "  ".join(f"{name} {value:.1%} of {figures.count[name]}" for name, value in figures.recall.items())
    return (
        f"accuracy {figures.accuracy:.2%} (95 % {low:.2%} to {high:.2%}), macro-F1 {figures.macro_f1:.3f}, "
        f"ECE {figures.ece:.3f}, n = {figures.n}\nrecall: {recalls}"
    )

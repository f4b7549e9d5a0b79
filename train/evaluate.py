"""Measuring a classifier on labelled face crops: the float model of a run, or any artefact of the runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_emotion.classifier import EmotionClassifier, softmax
from edge_emotion.factory import make_classifier
from edge_emotion.labels import EMOTIONS
from edge_emotion.manifest import InputSpec, Metrics
from edge_emotion.preprocess import normalise
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.datasets import Faces
from train.fit import RECORD, load_run, model_pixels
from train.metrics import measure

BATCH = 64


class KerasBackend:
    """The float model behind the runtime's own classifier, so that both are measured by the same code."""

    name = "tf_keras"

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Height, width, channels."""
        return tuple(self._model.input_shape[1:])

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """One output of logits."""
        return (tuple(self._model.output_shape[1:]),)

    def run(self, batch: FloatArray) -> tuple[FloatArray, ...]:
        """N x H x W x C -> N x L logits."""
        return (np.asarray(self._model.predict_on_batch(batch), np.float32),)

    def close(self) -> None:
        """Nothing to free."""


def logits_of(backend: InferenceBackend, faces: Faces, spec: InputSpec) -> FloatArray:
    """Logits of already cropped faces: N x L."""
    pixels = model_pixels(faces.images, spec)
    pieces = [backend.run(normalise(pixels[i : i + BATCH], spec))[0] for i in range(0, len(pixels), BATCH)]
    return np.concatenate(pieces)


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
    model, recipe, _ = load_run(target)
    logits = logits_of(KerasBackend(model), faces, recipe.input)
    return measure(faces.labels, softmax(logits.astype(np.float64)), EMOTIONS)


def as_text(figures: Metrics) -> str:
    """The figures as a few lines, recall per class with its n."""
    low, high = figures.interval
    recalls = "  ".join(f"{name} {value:.1%} of {figures.count[name]}" for name, value in figures.recall.items())
    return (
        f"accuracy {figures.accuracy:.2%} (95 % {low:.2%} to {high:.2%}), macro-F1 {figures.macro_f1:.3f}, "
        f"ECE {figures.ece:.3f}, n = {figures.n}\nrecall: {recalls}"
    )

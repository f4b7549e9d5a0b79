"""Predictions of trained models: runs, exported model folders, and ensembles of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_emotion.factory.models import make_classifier
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.models.manifest import InputSpec
from edge_emotion.protocols import FloatArray, ModelInput
from train.data.faces import Faces
from train.evaluation.logits import logits_of
from train.runs.run_directory import RECORD, Run, load_run


class KerasBackend:
    """Backend that runs a float Keras model, so that the runtime's own code measures it."""

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

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """N x H x W x C -> N x L logits."""
        return (np.asarray(self._model.predict_on_batch(batch), np.float32),)

    def close(self) -> None:
        """Nothing to free."""


@dataclass(frozen=True)
class Prediction:
    """Output of one model for N faces.

    logits: float32 N x C over ``classes``, unadjusted. ``model`` and ``run`` are set for a run, ``classifier`` for an
    exported model, none of them for an ensemble. ``size_bytes``: of the weights on disk.
    """

    name: str
    classes: tuple[str, ...]
    logits: FloatArray
    size_bytes: int
    model: Any = None
    run: Run | None = None
    classifier: EmotionClassifier | None = None


def with_own_names(predictions: Sequence[Prediction]) -> list[Prediction]:
    """Make names unique: runs in different folders may have the same name, and the second becomes 'name (2)'."""
    names = [prediction.name for prediction in predictions]
    counts = [names[: i + 1].count(name) for i, name in enumerate(names)]
    return [
        one if count == 1 else replace(one, name=f"{one.name} ({count})")
        for one, count in zip(predictions, counts, strict=True)
    ]


def input_of(target: Path) -> InputSpec:
    """Input of a run directory, model folder or shipped model. Raises ConfigError or ModelError for anything else."""
    if (target / RECORD).is_file():
        return load_run(target).recipe.input
    manifest = load_manifest(find_model(str(target)))
    return manifest.input


def logits_of_target(target: Path, faces: Faces) -> Prediction:
    """Logits of a run directory (its best float model), a model folder or a shipped model (both by the runtime).

    Raises ConfigError or ModelError if it is neither.
    """
    if (target / RECORD).is_file():
        run = load_run(target)
        model = run.build()
        logits = logits_of(KerasBackend(model), faces, run.recipe.input)
        size = 4 * int(model.count_params())
        return Prediction(target.name, run.classes, logits, size, model=model, run=run)
    classifier = make_classifier(str(target))
    logits = logits_of(classifier.backend, faces, classifier.manifest.input)
    size = (find_model(str(target)) / classifier.entry.file).stat().st_size
    return Prediction(classifier.manifest.name, classifier.manifest.labels, logits, size, classifier=classifier)

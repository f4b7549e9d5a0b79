"""Quality of an imported network on labelled faces, and signs that its input or labels were described wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from convert.artefacts.verify import in_order
from convert.own.description import RANGES
from edge_emotion.errors import ModelError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.manifest import InputSpec, Metrics, ModelManifest
from edge_emotion.protocols import FloatArray, InferenceBackend
from train.data.faces import DataError, DataSet, Faces, Split
from train.evaluation.evaluate import measure_logits, metrics_text
from train.evaluation.logits import logits_of
from train.evaluation.metrics import Counts, Labels, confusion, fit_temperature, mcnemar
from train.evaluation.one_class import one_class

TRIED = 500
"""Largest number of validation faces for trying other descriptions of the input."""

BETTER, CHANCE = 0.05, 0.01
"""Gain of accuracy, and McNemar's p, from which another description is proposed."""


class Measured(NamedTuple):
    """Figures for the manifest, the temperature fitted to the validation split, and a line for each finding."""

    metrics: Mapping[str, Metrics]
    temperature: float | None
    notes: tuple[str, ...]


def measure(manifest: ModelManifest, backend: InferenceBackend, data: DataSet) -> Measured:
    """Measure a network on the validation and test splits, as far as they exist, at its own probabilities.

    Only faces of labels that network and data have in common count. Raises DataError if these are fewer than two,
    ModelError for a network that predicts one class for every face.
    """
    common = tuple(label for label in manifest.labels if label in data.classes)
    if len(common) < 2:
        raise DataError(f"{data.name} has {', '.join(data.classes)}, the network {', '.join(manifest.labels)}")
    all_known = len(common) == len(manifest.labels)
    classifier = EmotionClassifier(manifest, backend, classes=None if all_known else common)
    faces = in_order(data, common)
    notes = (
        [] if all_known else [f"measured on {', '.join(common)} alone: {data.name} has no other label of the network"]
    )
    metrics, temperature = {}, None
    splits: tuple[Split, ...] = ("validation", "test")
    for split in (one for one in splits if one in faces.splits and len(faces[one].majority())):
        shown = faces[split].majority()
        logits = logits_of(backend, shown, manifest.input)[:, _columns(manifest.labels, common)]
        _require_several(logits, shown, common, split)
        one = measure_logits(classifier, _everywhere(logits, manifest.labels, common), shown.labels)
        metrics[f"{split}/{manifest.files[0].precision}"] = one
        notes.append(f"{split}: {metrics_text(one)}")
        if split == "validation":
            temperature = fit_temperature(logits, shown.labels)
            notes += list(_doubts(manifest, backend, shown, common))
    return Measured(metrics, temperature, tuple(notes))


def _columns(labels: Sequence[str], common: Sequence[str]) -> list[int]:
    return [labels.index(name) for name in common]


def _everywhere(logits: FloatArray, labels: Sequence[str], common: Sequence[str]) -> FloatArray:
    """Logits of the common labels at their columns among all labels; the others are not read."""
    wide = np.zeros((len(logits), len(labels)), np.float32)
    wide[:, _columns(labels, common)] = logits
    return wide


def _require_several(logits: FloatArray, faces: Faces, labels: Sequence[str], split: Split) -> None:
    if only := one_class(confusion(faces.labels, logits.argmax(axis=1), len(labels)), labels):
        raise ModelError(
            f"the network predicts {only} for each of {len(faces)} {split} faces of several emotions: is --input right "
            "(range of the values, colour), and is it trained?"
        )


def _doubts(manifest: ModelManifest, backend: InferenceBackend, faces: Faces, labels: tuple[str, ...]) -> Iterator[str]:
    """Signs that another range, order of the colours or order of the labels is the right one."""
    if len(faces) > TRIED:
        faces = faces.take(np.sort(np.random.default_rng(0).choice(len(faces), TRIED, replace=False)))
    columns = _columns(manifest.labels, labels)

    def predicted(spec: InputSpec) -> Labels:
        return np.asarray(logits_of(backend, faces, spec)[:, columns].argmax(axis=1), np.int64)

    ours = predicted(manifest.input)
    right = ours == faces.labels
    for name, spec in _others(manifest.input):
        other = predicted(spec) == faces.labels
        if other.mean() > right.mean() + BETTER and mcnemar(other, right) < CHANCE:
            yield (
                f"warning: with --input {name} the accuracy on {len(faces)} validation faces is {other.mean():.1%} "
                f"instead of {right.mean():.1%}: is --input right?"
            )
    matrix = confusion(faces.labels, ours, len(labels))
    order = _best_order(matrix)
    reordered = order[ours] == faces.labels
    if reordered.mean() > right.mean() + BETTER and mcnemar(reordered, right) < CHANCE:
        renamed = {labels[column]: labels[index] for column, index in enumerate(order)}
        yield (
            f"warning: with --labels {','.join(renamed.get(name, name) for name in manifest.labels)} the accuracy is "
            f"{reordered.mean():.1%} instead of {right.mean():.1%}: is --labels in the right order?"
        )


def _best_order(matrix: Counts) -> Labels:
    """For each predicted column its true class, each once: the largest cell first, then the largest of what is left."""
    left, order = matrix.astype(np.int64) + 0, np.arange(len(matrix))
    for _ in order:
        truth, column = np.unravel_index(left.argmax(), left.shape)
        order[column] = truth
        left[truth], left[:, column] = -1, -1
    return np.asarray(order, np.int64)


def _others(spec: InputSpec) -> Iterator[tuple[str, InputSpec]]:
    """Other descriptions of an input that the runtime's preprocessing can express, by their words in ``--input``."""
    for name, (scale, offset) in RANGES.items():
        if not np.allclose((scale, offset), (spec.scale, spec.offset)):
            yield name, spec.model_copy(update={"scale": scale, "offset": offset})
    if spec.channels == 3:
        other = "bgr" if spec.colour == "rgb" else "rgb"
        yield other, spec.model_copy(update={"colour": other})

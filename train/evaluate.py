"""Measuring classifiers on labelled face crops: runs, ensembles of runs, and any artefact of the runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_emotion.classifier import EmotionClassifier
from edge_emotion.labels import subset
from edge_emotion.manifest import Metrics
from train.faces import DataError, DataSet, Faces, Split
from train.figures import Figures, compute_figures
from train.metrics import Labels, Logits, measure
from train.predict import Prediction, logits_of


def measure_classifier(classifier: EmotionClassifier, faces: Faces) -> Metrics:
    """What a manifest says of a classifier, with its operating point, on faces labelled with every emotion it knows."""
    scores = classifier.scores(logits_of(classifier.backend, faces, classifier.manifest.input))
    return measure(faces.labels, np.array([row.probabilities for row in scores]), classifier.labels)


def measured_faces(data: DataSet, split: Split, *, protocol: str) -> Faces:
    """The faces of a split that count: 'majority': those with a clear winner; 'winner': all, ties to the first."""
    return data[split].majority() if protocol == "majority" else data[split]


def evaluate(
    prediction: Prediction,
    labels: Labels,
    data_classes: Sequence[str],
    *,
    operating_point: str | None = None,
    classes: Sequence[str] | None = None,
) -> Figures:
    """All figures of a model's answers to N faces with the given labels, positions in ``data_classes``.

    Faces of a class that the model does not know do not count. ``operating_point`` is of an exported model;
    ``classes`` restricts model and faces. Raises ConfigError for an unknown operating point or class, DataError when
    no face is left.
    """
    if operating_point is not None and prediction.classifier is None:
        raise DataError(f"{prediction.name} is no exported model and has no operating points")
    known, logits = answers(prediction, operating_point=operating_point, classes=classes)
    rows, truth = translate(labels, data_classes, known)
    return compute_figures(truth, logits[rows], known)


def answers(
    prediction: Prediction, *, operating_point: str | None = None, classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], Logits]:
    """The classes that are told apart, and N x C logits (of an exported model: log-probabilities of the runtime)."""
    if prediction.classifier is not None:
        shipped = prediction.classifier
        chosen = EmotionClassifier(shipped.manifest, shipped.backend, operating_point=operating_point, classes=classes)
        scores = np.array([row.probabilities for row in chosen.scores(prediction.logits)])
        return chosen.labels, np.log(np.maximum(scores, 1e-12))
    if classes is None:
        return prediction.classes, prediction.logits
    columns = list(subset(prediction.classes, classes))
    return tuple(prediction.classes[column] for column in columns), prediction.logits[:, columns]


def translate(labels: Labels, data_classes: Sequence[str], known: Sequence[str]) -> tuple[Labels, Labels]:
    """Rows whose class is among ``known``, and their labels as positions there."""
    columns = np.array([known.index(name) if name in known else -1 for name in data_classes])
    truth = columns[labels]
    rows = np.flatnonzero(truth >= 0)
    return rows, truth[rows]


def as_text(figures: Metrics) -> str:
    """The figures of a manifest as a few lines, recall per class with its n."""
    low, high = figures.interval
    recalls = "  ".join(f"{name} {value:.1%} of {figures.count[name]}" for name, value in figures.recall.items())
    return (
        f"accuracy {figures.accuracy:.2%} (95 % {low:.2%} to {high:.2%}), macro-F1 {figures.macro_f1:.3f}, "
        f"ECE {figures.ece:.3f}, n = {figures.n}\nrecall: {recalls}"
    )


def describe(figures: Figures) -> str:
    """All figures as lines for a terminal."""
    low, high = figures.accuracy_interval
    lines = [
        f"accuracy {figures.accuracy:.2%} (95 % {low:.2%} to {high:.2%}), top-2 {figures.top2:.2%}, n = {figures.n}",
        f"balanced accuracy {_with_interval(figures.balanced_accuracy, figures.balanced_accuracy_interval)}",
    ]
    if figures.balanced_accuracy_7 is not None and figures.balanced_accuracy_7_interval is not None:
        seven = _with_interval(figures.balanced_accuracy_7, figures.balanced_accuracy_7_interval)
        lines[-1] += f", without contempt {seven}"
    lines.append(
        f"macro-F1 {_with_interval(figures.macro_f1, figures.macro_f1_interval)}, ECE {figures.ece:.3f}, "
        f"NLL {figures.nll:.3f}"
    )
    for name, one in figures.per_class.items():
        if one.recall is not None and one.interval is not None and one.f1 is not None:
            precision = "   - " if one.precision is None else f"{one.precision:5.1%}"
            low, high = one.interval
            lines.append(
                f"  {name:10} recall {one.recall:5.1%} ({low:.0%} to {high:.0%})  precision {precision}  "
                f"F1 {one.f1:.3f}  n = {one.n}"
            )
    return "\n".join(lines)


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"

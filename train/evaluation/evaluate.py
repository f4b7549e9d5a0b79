"""Evaluation of classifiers on labelled face crops: runs, ensembles of runs, and any artefact of the runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edge_emotion.errors import ConfigError
from edge_emotion.labels import subset
from edge_emotion.models.classifier import EmotionClassifier, softmax
from edge_emotion.models.manifest import Metrics
from edge_emotion.protocols import FloatArray
from train.data.faces import DataSet, Faces, Split
from train.evaluation.logits import logits_of
from train.evaluation.metrics import Labels, Logits, measure_metrics
from train.evaluation.model_figures import Figures, compute_figures

if TYPE_CHECKING:
    from train.evaluation.predict import Prediction  # needs TensorFlow


def measure_classifier(classifier: EmotionClassifier, faces: Faces) -> Metrics:
    """The metrics for a manifest, at the classifier's operating point, on faces labelled with its own classes."""
    return measure_logits(classifier, logits_of(classifier.backend, faces, classifier.manifest.input), faces.labels)


def measure_logits(classifier: EmotionClassifier, logits: FloatArray, labels: Labels) -> Metrics:
    """As ``measure_classifier``, from N x C logits that were computed before."""
    probabilities = np.array([row.probabilities for row in classifier.scores(logits)])
    return measure_metrics(labels, probabilities, classifier.labels)


def measured_faces(data: DataSet, split: Split, *, protocol: str) -> Faces:
    """The faces of a split to measure on; 'majority': with a clear winner; 'winner': all, ties to the first class."""
    return data[split].majority() if protocol == "majority" else data[split]


class Answer(NamedTuple):
    """Output of a model for N faces: logits float64 N x C over ``classes``."""

    name: str
    classes: tuple[str, ...]
    logits: Logits


def answer(
    prediction: Prediction, *, operating_point: str | None = None, classes: Sequence[str] | None = None
) -> Answer:
    """A model's output restricted to ``classes`` (default: all of the model).

    For an exported model: log-probabilities of the runtime's classifier at its operating point. Raises ConfigError for
    an unknown class or operating point; runs have no operating points.
    """
    if prediction.classifier is not None:
        shipped = prediction.classifier
        chosen = EmotionClassifier(shipped.manifest, shipped.backend, operating_point=operating_point, classes=classes)
        scores = np.array([row.probabilities for row in chosen.scores(prediction.logits)])
        return Answer(prediction.name, chosen.labels, np.log(np.maximum(scores, 1e-12)))
    if operating_point is not None:
        raise ConfigError(f"{prediction.name} is no exported model and has no operating points")
    columns = list(range(len(prediction.classes)) if classes is None else subset(prediction.classes, classes))
    known = tuple(prediction.classes[column] for column in columns)
    return Answer(prediction.name, known, prediction.logits[:, columns].astype(np.float64))


def ensemble(members: Sequence[Answer]) -> Answer:
    """The mean of the members' probabilities. Raises ConfigError if their classes differ."""
    classes = members[0].classes
    for member in members:
        if member.classes != classes:
            raise ConfigError(f"{member.name} has the classes {', '.join(member.classes)}, not {', '.join(classes)}")
    mean = np.mean([softmax(np.asarray(member.logits, np.float64)) for member in members], axis=0)
    return Answer(" + ".join(member.name for member in members), classes, np.log(np.maximum(mean, 1e-12)))


def mean_of(predictions: Sequence[Prediction]) -> Prediction:
    """The ensemble of models as one more prediction; its size is their sum. Raises ConfigError as ``ensemble`` does."""
    from train.evaluation.predict import Prediction

    mean = ensemble([answer(one) for one in predictions])
    size = sum(one.size_bytes for one in predictions)
    return Prediction(mean.name, mean.classes, mean.logits.astype(np.float32), size)


def evaluate(output: Answer, labels: Labels, data_classes: Sequence[str]) -> Figures:
    """All figures of a model's output for N faces; labels are positions in ``data_classes``.

    Faces of a class that the model lacks are left out. Raises DataError if no face is left.
    """
    rows, truth = translate(labels, data_classes, output.classes)
    return compute_figures(truth, output.logits[rows], output.classes)


def translate(labels: Labels, data_classes: Sequence[str], known: Sequence[str]) -> tuple[Labels, Labels]:
    """Rows whose class is among ``known``, and their labels as positions in ``known``."""
    columns = np.array([known.index(name) if name in known else -1 for name in data_classes])
    truth = columns[labels]
    rows = np.flatnonzero(truth >= 0)
    return rows, truth[rows]


def metrics_text(figures: Metrics) -> str:
    """The metrics of a manifest as a few lines, recall per class with its n."""
    low, high = figures.interval
    recalls = "  ".join(f"{name} {value:.1%} of {figures.count[name]}" for name, value in figures.recall.items())
    return (
        f"accuracy {figures.accuracy:.2%} (95 % {low:.2%} to {high:.2%}), macro-F1 {figures.macro_f1:.3f}, "
        f"ECE {figures.ece:.3f}, n = {figures.n}\nrecall: {recalls}"
    )


def figures_text(figures: Figures) -> str:
    """Figures as lines for a terminal."""
    low, high = figures.accuracy_interval
    lines = [
        f"accuracy {figures.accuracy:.2%} (95 % {low:.2%} to {high:.2%}), n = {figures.n}",
        f"top-2 {figures.top2:.2%} (95 % {figures.top2_interval[0]:.2%} to {figures.top2_interval[1]:.2%})",
        f"balanced accuracy {_with_interval(figures.balanced_accuracy, figures.balanced_accuracy_interval)}",
    ]
    if figures.balanced_accuracy_7 is not None and figures.balanced_accuracy_7_interval is not None:
        seven = _with_interval(figures.balanced_accuracy_7, figures.balanced_accuracy_7_interval)
        lines[-1] += f", without contempt {seven}"
    lines.append(
        f"macro-F1 {_with_interval(figures.macro_f1, figures.macro_f1_interval)}, ECE {figures.ece:.3f}, "
        f"NLL {figures.nll:.3f}"
    )
    if only := figures.only_class:
        lines.append(f"predicts {only} for each of these faces: it does not tell the emotions apart")
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

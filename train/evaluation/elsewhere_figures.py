"""Figures on other data sets: all emotions allowed, intervals over persons, false alarms on calm faces."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_emotion.labels import EMOTIONS
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.manifest import Part
from edge_emotion.protocols import FloatArray
from train.evaluation.elsewhere import Elsewhere
from train.evaluation.logits import logits_of
from train.evaluation.metrics import RESAMPLES, Interval, Probabilities, balanced_accuracy, calibration_error, confusion

CALM = EMOTIONS.index("neutral")

ALARM = 0.5
"""Least confidence at which a wrong emotion of a calm face counts as a false alarm: the daemon's default threshold."""


class ElsewhereFigures(Part):
    """Figures of a model on ``n`` faces found in ``pictures``.

    ``interval``: 95 %, by bootstrap over the ``persons``; ``mean_recall``: over the emotions that occur;
    ``false_alarms``: share of neutral faces classified as something else with a confidence of at least ALARM, None
    without neutral faces; ``coverage``: share of faces whose emotion is among the likely ones, and ``likely``: mean
    number of these, both None for a manifest without them.
    """

    n: int
    pictures: int
    persons: int
    accuracy: float
    interval: Interval
    mean_recall: float
    ece: float
    false_alarms: float | None
    coverage: float | None = None
    likely: float | None = None
    recall: dict[str, float]
    count: dict[str, int]


def measure_points(
    classifier: EmotionClassifier, data: Elsewhere, logits: FloatArray | None = None
) -> dict[str, ElsewhereFigures]:
    """The figures at each operating point of a classifier, from its ``logits`` if they were computed before.

    The classifier is not restricted to the emotions of the set.
    """
    manifest = classifier.manifest
    if logits is None:
        logits = logits_of(classifier.backend, data.faces, manifest.input)
    columns = [EMOTIONS.index(label) for label in manifest.labels]
    figures = {}
    for point in manifest.calibration.operating_points:
        at_point = EmotionClassifier(manifest, classifier.backend, operating_point=point)
        probabilities = np.zeros((len(logits), len(EMOTIONS)))
        probabilities[:, columns] = [row.probabilities for row in at_point.scores(logits)]
        figures[point] = measure_elsewhere(probabilities, data)
        if (least := manifest.calibration.operating_points[point].likely_from) is not None:
            figures[point] = figures[point].model_copy(update=_coverage(probabilities, data, least))
    return figures


def _coverage(probabilities: Probabilities, data: Elsewhere, least: float) -> dict[str, float]:
    inside = probabilities >= np.minimum(least, probabilities.max(axis=1, keepdims=True))
    held = inside[np.arange(len(inside)), data.faces.labels]
    return {"coverage": round(float(held.mean()), 4), "likely": round(float(inside.sum(axis=1).mean()), 2)}


def measure_elsewhere(probabilities: Probabilities, data: Elsewhere) -> ElsewhereFigures:
    """Figures from N x 8 probabilities over EMOTIONS for the N faces of a set."""
    truth = data.faces.labels
    predicted = probabilities.argmax(axis=1)
    matrix = confusion(truth, predicted, len(EMOTIONS))
    count = matrix.sum(axis=1)
    calm = probabilities[truth == CALM]
    alarms = (calm.argmax(axis=1) != CALM) & (calm.max(axis=1) >= ALARM)
    low, high = person_interval(predicted == truth, data.persons)
    return ElsewhereFigures(
        n=len(truth),
        pictures=data.pictures,
        persons=len(np.unique(data.persons)),
        accuracy=round(float((predicted == truth).mean()), 5),
        interval=(round(low, 5), round(high, 5)),
        mean_recall=round(float(balanced_accuracy(matrix)), 5),
        ece=round(calibration_error(probabilities, truth), 5),
        false_alarms=round(float(alarms.mean()), 5) if len(calm) else None,
        recall={name: round(float(matrix[i, i] / count[i]), 4) for i, name in enumerate(EMOTIONS) if count[i]},
        count={name: int(count[i]) for i, name in enumerate(EMOTIONS)},
    )


def person_interval(right: npt.NDArray[np.bool_], persons: npt.NDArray[np.str_], *, seed: int = 0) -> Interval:
    """95 % percentile bootstrap interval of the mean of N booleans, drawing persons with all of their faces."""
    _, whose = np.unique(persons, return_inverse=True)
    faces, hits = np.bincount(whose), np.bincount(whose, right)
    drawn = np.random.default_rng(seed).multinomial(len(faces), np.full(len(faces), 1 / len(faces)), size=RESAMPLES)
    low, high = np.quantile((drawn @ hits) / (drawn @ faces), (0.025, 0.975))
    return float(low), float(high)

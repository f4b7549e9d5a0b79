"""All figures of one model on one split, as one value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from edge_emotion.labels import subset
from edge_emotion.models.classifier import softmax
from edge_emotion.models.manifest import Part
from train.data.faces import DataError
from train.evaluation.metrics import (
    Counts,
    Interval,
    Labels,
    Logits,
    Probabilities,
    among_likeliest,
    balanced_accuracy,
    bootstrap_interval,
    calibration_error,
    confusion,
    macro_f1,
    negative_log_likelihood,
    resample,
    seven_of,
    wilson_interval,
)
from train.evaluation.one_class import one_class

RELIABILITY_BINS = 10


class ClassFigures(Part):
    """Figures of one class with ``n`` faces. ``interval``: 95 % interval of the recall (Wilson 1927).

    None where undefined: recall, F1 and interval of a class without faces, precision of one that was never predicted.
    """

    n: int
    precision: float | None
    recall: float | None
    f1: float | None
    interval: Interval | None


class Bin(Part):
    """One confidence bin with ``count`` faces: their mean confidence and their accuracy."""

    confidence: float
    accuracy: float
    count: int


class Figures(Part):
    """Quality of one model on one split; intervals of means are 95 % bootstrap intervals over pictures.

    ``confusion``: counts, rows truth, columns prediction. ``balanced_accuracy``: mean recall of the classes that occur;
    ``balanced_accuracy_7``: without contempt, if the classes are the eight. ``macro_f1``: mean over classes that occur.
    ``top2``: accuracy if the two likeliest classes count. ``ece`` and ``nll`` (nats per face) measure the
    probabilities.
    """

    classes: tuple[str, ...]
    n: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    balanced_accuracy_7: float | None
    balanced_accuracy_7_interval: Interval | None
    macro_f1: float
    macro_f1_interval: Interval
    top2: float
    top2_interval: Interval
    ece: float
    nll: float
    per_class: dict[str, ClassFigures]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[Bin, ...]

    @property
    def only_class(self) -> str | None:
        """The class that is predicted for every face, if the faces have several."""
        return one_class(np.array(self.confusion), self.classes)

    @property
    def rates(self) -> Probabilities:
        """The confusion matrix as shares of each row: classes x classes; zeros for a class that does not occur."""
        counts = np.array(self.confusion, np.float64)
        return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def compute_figures(truth: Labels, logits: Logits, labels: Sequence[str], *, seed: int = 0) -> Figures:
    """Compute all figures of one model on one split.

    truth: N positions in ``labels``; logits: N x L, after prior adjustment and division by the temperature. Raises
    DataError if there is no face.
    """
    if not len(truth):
        raise DataError(f"there is no face of {', '.join(labels)} to measure on")
    probabilities = softmax(logits.astype(np.float64))
    predicted = probabilities.argmax(axis=1)
    matrix, right = confusion(truth, predicted, len(labels)), predicted == truth
    near = among_likeliest(logits, truth, 2)
    drawn = resample(matrix, seed=seed)
    seven = seven_of(labels)
    return Figures(
        classes=tuple(labels),
        n=len(truth),
        accuracy=_round(right.mean()),
        accuracy_interval=_rounded(bootstrap_interval(right, seed=seed)),
        balanced_accuracy=_round(balanced_accuracy(matrix)),
        balanced_accuracy_interval=_middle(balanced_accuracy(drawn)),
        balanced_accuracy_7=_round(balanced_accuracy(matrix, seven)) if seven else None,
        balanced_accuracy_7_interval=_middle(balanced_accuracy(drawn, seven)) if seven else None,
        macro_f1=_round(macro_f1(matrix)),
        macro_f1_interval=_middle(macro_f1(drawn)),
        top2=_round(near.mean()),
        top2_interval=_rounded(bootstrap_interval(near, seed=seed)),
        ece=_round(calibration_error(probabilities, truth)),
        nll=_round(negative_log_likelihood(logits, truth, 1.0)),
        per_class={name: _class_figures(matrix, i) for i, name in enumerate(labels)},
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        reliability=reliability(probabilities, truth),
    )


def subset_figures(truth: Labels, logits: Logits, labels: Sequence[str], classes: Iterable[str]) -> Figures:
    """Figures of the same model restricted to ``classes``, on the faces of these classes.

    Raises ConfigError for a class that the model lacks, DataError if there is no such face.
    """
    kept = np.array(subset(labels, classes))
    rows = np.isin(truth, kept)
    return compute_figures(np.searchsorted(kept, truth[rows]), logits[rows][:, kept], [labels[i] for i in kept])


def reliability(probabilities: Probabilities, truth: Labels, bins: int = RELIABILITY_BINS) -> tuple[Bin, ...]:
    """The non-empty bins of a reliability diagram, by increasing confidence (Guo et al. 2017)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums, hits = np.bincount(place, confidence, bins), np.bincount(place, right, bins)
    return tuple(
        Bin(confidence=_round(sums[i] / count[i]), accuracy=_round(hits[i] / count[i]), count=int(count[i]))
        for i in np.flatnonzero(count)
    )


def _class_figures(matrix: Counts, index: int) -> ClassFigures:
    hits, n, predicted = int(matrix[index, index]), int(matrix[index].sum()), int(matrix[:, index].sum())
    low, high = wilson_interval(hits, n) if n else (0.0, 0.0)
    return ClassFigures(
        n=n,
        precision=_round(hits / predicted) if predicted else None,
        recall=_round(hits / n) if n else None,
        f1=_round(2 * hits / (n + predicted)) if n else None,
        interval=(_round(low), _round(high)) if n else None,
    )


def _middle(values: npt.NDArray[np.float64]) -> Interval:
    """95 % interval of bootstrap values."""
    return _rounded(np.quantile(values, (0.025, 0.975)))


def _rounded(ends: Iterable[float]) -> Interval:
    low, high = ends
    return _round(low), _round(high)


def _round(value: float | np.floating | npt.NDArray[np.float64]) -> float:
    return round(float(value), 5)

"""Figures of a classifier, with their uncertainty. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_emotion.manifest import Metrics

Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]

ECE_BINS = 15
RESAMPLES = 2000


def measure(truth: Labels, probabilities: Probabilities, labels: Sequence[str], *, seed: int = 0) -> Metrics:
    """All figures of one model on one split.

    truth: N positions in ``labels``; probabilities: N x L. The interval is the 95 % percentile bootstrap over
    pictures; macro-F1 is the mean over classes that occur; ECE has 15 equal bins (Guo et al. 2017).
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == truth
    matrix = confusion(truth, predicted, len(labels))
    count = matrix.sum(axis=1)
    hits, said = matrix.diagonal(), matrix.sum(axis=0)
    occurs = count > 0
    f1 = 2 * hits / np.maximum(count + said, 1)
    low, high = bootstrap_interval(right, seed=seed)
    return Metrics(
        n=len(truth),
        accuracy=round(float(right.mean()), 5),
        interval=(round(low, 5), round(high, 5)),
        macro_f1=round(float(f1[occurs].mean()), 5),
        ece=round(calibration_error(probabilities, truth), 5),
        recall={name: round(float(hits[i] / count[i]), 4) for i, name in enumerate(labels) if count[i]},
        count={name: int(count[i]) for i, name in enumerate(labels)},
    )


def confusion(truth: Labels, predicted: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Counts, rows truth and columns prediction: classes x classes."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def bootstrap_interval(right: npt.NDArray[np.bool_], *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of N truth values.

    Resampling N values of which k are true gives a binomial count, which is drawn directly.
    """
    n = len(right)
    means = np.random.default_rng(seed).binomial(n, right.mean(), size=RESAMPLES) / n
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def calibration_error(probabilities: Probabilities, truth: Labels) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over equal bins of confidence."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right - confidence, ECE_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def negative_log_likelihood(logits: npt.NDArray[np.floating], truth: Labels, temperature: float) -> float:
    """Mean over N of -log softmax(logits / temperature)[truth]."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(truth)), truth]).mean())


def fit_temperature(logits: npt.NDArray[np.floating], truth: Labels) -> float:
    """The temperature of least negative log likelihood (Guo et al. 2017), two decimals, 0.25 to 4."""
    candidates = np.arange(0.25, 4.0, 0.01)
    losses = [negative_log_likelihood(logits, truth, float(t)) for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 2)

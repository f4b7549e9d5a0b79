"""Figures of a classifier, with their uncertainty. numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from edge_emotion.labels import EMOTIONS
from edge_emotion.models.manifest import Metrics

Labels = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Logits = npt.NDArray[np.floating]
Probabilities = npt.NDArray[np.float64]
Interval = tuple[float, float]

ECE_BINS = 15
RESAMPLES = 2000
RARE = "contempt"
"""FER+ shows it so rarely (16 test faces) that its recall would swing any mean; FER2013 does not know it."""


def measure(truth: Labels, probabilities: Probabilities, labels: Sequence[str], *, seed: int = 0) -> Metrics:
    """What a manifest says of one model on one split.

    truth: N positions in ``labels``; probabilities: N x L. The interval is the 95 % percentile bootstrap over
    pictures; macro-F1 is the mean over classes that occur; ECE has 15 equal bins (Guo et al. 2017).
    """
    predicted = probabilities.argmax(axis=1)
    right = predicted == truth
    matrix = confusion(truth, predicted, len(labels))
    count = matrix.sum(axis=1)
    low, high = bootstrap_interval(right, seed=seed)
    return Metrics(
        n=len(truth),
        accuracy=round(float(right.mean()), 5),
        interval=(round(low, 5), round(high, 5)),
        macro_f1=round(float(macro_f1(matrix)), 5),
        ece=round(calibration_error(probabilities, truth), 5),
        recall={name: round(float(matrix[i, i] / count[i]), 4) for i, name in enumerate(labels) if count[i]},
        count={name: int(count[i]) for i, name in enumerate(labels)},
    )


def confusion(truth: Labels, predicted: Labels, classes: int) -> Counts:
    """Counts, rows truth and columns prediction: classes x classes."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def resample(matrix: Counts, *, seed: int = 0) -> Counts:
    """Confusion matrices of 2000 bootstrap samples of the pictures: 2000 x classes x classes.

    Drawing N pictures with replacement gives multinomial counts of the cells, which are drawn directly.
    """
    cells = matrix.reshape(-1)
    drawn = np.random.default_rng(seed).multinomial(cells.sum(), cells / cells.sum(), size=RESAMPLES)
    return np.asarray(drawn.reshape(-1, *matrix.shape), np.int64)


def seven_of(labels: Sequence[str]) -> tuple[int, ...]:
    """Columns of the seven emotions without contempt when ``labels`` are the eight, else none."""
    if set(labels) != set(EMOTIONS):
        return ()
    return tuple(i for i, name in enumerate(labels) if name != RARE)


def balanced_accuracy(matrix: Counts, columns: Sequence[int] | None = None) -> npt.NDArray[np.float64]:
    """Mean recall over the classes (all, or those at ``columns``) that occur: ... x classes x classes -> ..."""
    count, hits = matrix.sum(axis=-1), np.diagonal(matrix, axis1=-2, axis2=-1)
    occurs = count > 0
    if columns:
        occurs = occurs & np.isin(np.arange(matrix.shape[-1]), columns)
    recall = hits / np.maximum(count, 1)
    return np.asarray((recall * occurs).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1), np.float64)


def macro_f1(matrix: Counts) -> npt.NDArray[np.float64]:
    """Mean F1 over the classes that occur: ... x classes x classes -> ..."""
    count, said = matrix.sum(axis=-1), matrix.sum(axis=-2)
    f1 = 2 * np.diagonal(matrix, axis1=-2, axis2=-1) / np.maximum(count + said, 1)
    occurs = count > 0
    return np.asarray((f1 * occurs).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1), np.float64)


def among_likeliest(logits: Logits, truth: Labels, k: int) -> npt.NDArray[np.bool_]:
    """Whether the class of each face is among the ``k`` with the highest logits: bool N."""
    above = (logits > logits[np.arange(len(truth)), truth][:, None]).sum(axis=1)
    return np.asarray(above < k, np.bool_)


def wilson_interval(hits: int, n: int) -> Interval:
    """95 % score interval of a share of ``n`` > 0 (Wilson 1927): also right near 0 and 1, and for small n."""
    z = NormalDist().inv_cdf(0.975)
    share, spread = hits / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def mcnemar(a_right: npt.NDArray[np.bool_], b_right: npt.NDArray[np.bool_]) -> float:
    """Exact two-sided p-value of two classifiers being equally often right on the same N faces (McNemar 1947).

    Of the faces that only one of them has right, each is as likely one's as the other's: a fair binomial.
    """
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def bootstrap_interval(right: npt.NDArray[np.bool_], *, seed: int = 0) -> Interval:
    """95 % percentile bootstrap interval of the mean of N truth values.

    Resampling N values of which k are true gives a binomial count, which is drawn directly.
    """
    n = len(right)
    means = np.random.default_rng(seed).binomial(n, right.mean(), size=RESAMPLES) / n
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def difference_interval(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_], *, seed: int = 0) -> Interval:
    """95 % paired bootstrap interval of the mean of N truth values ``a`` less that of ``b``, of the same N things."""
    change = a.astype(np.int64) - b.astype(np.int64)
    means = np.random.default_rng(seed).choice(change, (RESAMPLES, len(change))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def calibration_error(probabilities: Probabilities, truth: Labels) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over equal bins of confidence."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right - confidence, ECE_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def negative_log_likelihood(logits: Logits, truth: Labels, temperature: float) -> float:
    """Mean over N of -log softmax(logits / temperature)[truth]."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(truth)), truth]).mean())


def fit_temperature(logits: Logits, truth: Labels) -> float:
    """The temperature of least negative log likelihood (Guo et al. 2017), two decimals, 0.25 to 4."""
    candidates = np.arange(0.25, 4.0, 0.01)
    losses = [negative_log_likelihood(logits, truth, float(t)) for t in candidates]
    return round(float(candidates[int(np.argmin(losses))]), 2)

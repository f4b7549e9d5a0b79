"""The operating curve between plain and balanced accuracy, and the named operating points on it.

Logit adjustment (Menon et al. 2021, "Long-tail learning via logit adjustment"): ``logits - strength * log(prior)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_emotion.models.classifier import logit_shift, prior_shift
from edge_emotion.models.manifest import OperatingPoint
from train.evaluation.metrics import Labels, Logits, balanced_accuracy, confusion, fit_temperature, seven_of

STRENGTHS = tuple(round(0.05 * step, 2) for step in range(31))
"""Strengths of the curve, 0 to 1.5."""


class CurvePoint(NamedTuple):
    """Accuracy and balanced accuracy on one split at one strength."""

    strength: float
    accuracy: float
    balanced_accuracy: float


class Choice(NamedTuple):
    """Rule for a point: the most balanced one whose accuracy is at most ``within`` (a share) below the curve's best.

    Balanced accuracy is first averaged over ``neighbours`` points on each side, because it changes in steps with rare
    classes, and a single high point is chance.
    """

    within: float
    neighbours: int


CHOICES: dict[str, Choice] = {"accurate": Choice(0.003, 0), "balanced": Choice(0.04, 2)}
"""Named operating points. The first is the manifest's default."""


def adjust(
    logits: Logits, prior: npt.NDArray[np.floating], strength: float, temperature: float = 1.0
) -> npt.NDArray[np.float64]:
    """``(logits - strength * log(prior)) / temperature``: N x L, prior: L shares above 0."""
    return np.asarray((logits.astype(np.float64) - prior_shift(prior, strength)) / temperature)


def apply_point(
    logits: Logits, prior: npt.NDArray[np.floating] | Sequence[float], point: OperatingPoint, labels: Sequence[str]
) -> npt.NDArray[np.float64]:
    """The logits at an operating point, as in the runtime before its softmax: N x L over ``labels``."""
    shift = logit_shift(tuple(float(share) for share in prior), point, labels)
    return np.asarray((logits.astype(np.float64) - shift) / point.temperature)


def measure_point(
    logits: Logits,
    truth: Labels,
    prior: npt.NDArray[np.floating],
    point: OperatingPoint,
    labels: Sequence[str],
) -> CurvePoint:
    """Accuracy and balanced accuracy of an operating point; without contempt if ``labels`` are the eight emotions."""
    matrix = confusion(truth, apply_point(logits, prior, point, labels).argmax(axis=1), len(labels))
    balanced = float(balanced_accuracy(matrix, seven_of(labels) or None))
    return CurvePoint(point.prior_strength, float(matrix.trace() / len(truth)), balanced)


def operating_curve(
    logits: Logits,
    truth: Labels,
    prior: npt.NDArray[np.floating],
    strengths: Sequence[float] = STRENGTHS,
    *,
    columns: Sequence[int] | None = None,
) -> list[CurvePoint]:
    """Accuracy and balanced accuracy at each strength.

    logits: N x L; truth: N; prior: L. Balanced accuracy is the mean recall of the classes at ``columns`` (default:
    all) that occur.
    """
    rows = []
    for strength in strengths:
        matrix = confusion(truth, adjust(logits, prior, strength).argmax(axis=1), logits.shape[1])
        balanced = float(balanced_accuracy(matrix, columns))
        rows.append(CurvePoint(float(strength), float(matrix.trace() / len(truth)), balanced))
    return rows


def choose_point(curve: Sequence[CurvePoint], choice: Choice) -> CurvePoint:
    """The point of the curve (by rising strength) that ``choice`` describes; the weakest of equal ones."""
    accuracy = np.array([point.accuracy for point in curve])
    window = np.ones(min(2 * choice.neighbours + 1, len(curve)))
    balanced = np.convolve([point.balanced_accuracy for point in curve], window, "same")
    balanced /= np.convolve(np.ones(len(curve)), window, "same")
    allowed = accuracy >= accuracy.max() - choice.within - 1e-9
    return curve[int(np.where(allowed, balanced.round(9), -1).argmax())]


def choose_operating_points(
    logits: Logits,
    truth: Labels,
    prior: npt.NDArray[np.floating],
    labels: Sequence[str],
    *,
    choices: Mapping[str, Choice] = CHOICES,
    strengths: Sequence[float] = STRENGTHS,
) -> dict[str, OperatingPoint]:
    """Choose the named operating points, with a fitted temperature each; to be called with the validation split.

    logits: N x L; truth: N positions in ``labels``; prior: L shares. Balanced accuracy is without contempt if
    ``labels`` are the eight emotions.
    """
    curve = operating_curve(logits, truth, prior, strengths, columns=seven_of(labels) or None)
    points = {}
    for name, choice in choices.items():
        strength = choose_point(curve, choice).strength
        temperature = fit_temperature(adjust(logits, prior, strength), truth)
        points[name] = OperatingPoint(prior_strength=strength, temperature=temperature)
    return points

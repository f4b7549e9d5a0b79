"""The curve between plain and balanced accuracy, and the points of it that ship.

Logit adjustment (Menon et al. 2021, "Long-tail learning via logit adjustment"): ``logits - strength * log(prior)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_emotion.models.manifest import OperatingPoint
from train.evaluation.metrics import Labels, Logits, balanced_accuracy, confusion, fit_temperature, seven_of

STRENGTHS = tuple(round(0.05 * step, 2) for step in range(31))
"""0 to 1.5."""


class CurvePoint(NamedTuple):
    """What one strength gives on one split."""

    strength: float
    accuracy: float
    balanced_accuracy: float


class Choice(NamedTuple):
    """The most balanced point whose accuracy is at most ``within`` (a share) below the curve's best.

    Balanced accuracy is first averaged over ``neighbours`` points on each side: a rare class moves it in jumps, and a
    single high point is luck.
    """

    within: float
    neighbours: int


CHOICES: dict[str, Choice] = {"accurate": Choice(0.003, 0), "balanced": Choice(0.04, 2)}
"""The named operating points. The manifest's default is the first."""


def adjust(
    logits: Logits, prior: npt.NDArray[np.floating], strength: float, temperature: float = 1.0
) -> npt.NDArray[np.float64]:
    """``(logits - strength * log(prior)) / temperature``: N x L, prior: L shares above 0."""
    return np.asarray((logits.astype(np.float64) - strength * np.log(prior.astype(np.float64))) / temperature)


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
    """Named operating points, to be chosen on the validation split; the temperature is fitted for each.

    logits: N x L; truth: N positions in ``labels``; prior: L shares. Contempt is left out of the balanced accuracy
    when ``labels`` are the eight.
    """
    curve = operating_curve(logits, truth, prior, strengths, columns=seven_of(labels) or None)
    points = {}
    for name, choice in choices.items():
        strength = choose_point(curve, choice).strength
        temperature = fit_temperature(adjust(logits, prior, strength), truth)
        points[name] = OperatingPoint(prior_strength=strength, temperature=temperature)
    return points

"""The operating point for acted expressions, and temperatures that hold on several kinds of faces.

An operating point of a strength alone moves along one line. What people act before a camera wants less of *neutral*
and other shares of the rest than what a crowd says of photographs; the offsets of ``expressive`` are fitted to both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from edge_emotion.models.classifier import softmax
from edge_emotion.models.manifest import OperatingPoint
from train.evaluation.metrics import Labels, Logits, calibration_error
from train.evaluation.operating_points import apply_point

Array = npt.NDArray[np.float64]

CROWD, NATURAL, ACTED = "crowd", "natural", "acted"
"""FER+'s validation split; photographs of people who do not act; people who act."""

ACCURATE, BALANCED, EXPRESSIVE = "accurate", "balanced", "expressive"
"""Operating points; the first two are chosen by ``train.operating_points``."""

WEIGHTS = {CROWD: 0.25, NATURAL: 0.5, ACTED: 1.0}
"""How much a set counts in the fit of ``expressive``."""

ECE_LIMITS = {CROWD: 0.05, NATURAL: 0.05, ACTED: 0.12}
"""The largest calibration error that is wanted; the temperature keeps each set's share of its limit alike."""

COVERAGE = 0.9
"""Share of the faces whose emotion is in the set of likely ones."""

SHARPNESS = 1.5
"""Logits times this give the smooth stand-in for right and wrong: steep enough to count, flat enough to follow."""

SHRINK = 0.02
"""Weight of the squared offsets: small sets must not drag a class far from ``balanced``."""

ALARMS = 0.5
"""Smooth share of calm natural faces that may be taken for expressive ones; each step beyond costs steeply."""

ALARM_COST = 30.0
STEPS, RATE = 1500, 0.02
TEMPERATURES = np.arange(0.4, 2.0, 0.01)


class Sample(NamedTuple):
    """Logits N x L of one set, and its N labels as columns."""

    logits: Logits
    truth: Labels


def fit_expressive(
    samples: Mapping[str, Sample], prior: Sequence[float], balanced: OperatingPoint, labels: Sequence[str]
) -> OperatingPoint:
    """The point ``expressive``: the prior strength of ``balanced``, and an offset for each emotion.

    samples: of CROWD, NATURAL and ACTED. The smooth share of right answers, each face weighted by its class's size to
    the power of -1/2, is raised by gradient ascent (Adam), held back by SHRINK and ALARMS. Offsets are relative to
    neutral's, which changes no probability, and have two decimals.
    """
    base = OperatingPoint(prior_strength=balanced.prior_strength)
    shifted = {key: Sample(apply_point(one.logits, prior, base, labels), one.truth) for key, one in samples.items()}
    calm = labels.index("neutral") if "neutral" in labels else None
    offsets, mean, square = np.zeros((3, len(labels)))
    for step in range(1, STEPS + 1):
        slope = _slope(shifted, offsets, calm)
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        offsets = offsets + RATE * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-9)
    if calm is not None:
        offsets = offsets - offsets[calm]
    named = {label: round(float(value), 2) for label, value in zip(labels, offsets, strict=True) if abs(value) >= 0.005}
    return with_temperature(samples, prior, base.model_copy(update={"offsets": named}), labels)


def fit_points(
    samples: Mapping[str, Sample],
    prior: Sequence[float],
    points: Mapping[str, OperatingPoint],
    labels: Sequence[str],
) -> dict[str, OperatingPoint]:
    """``points`` with temperatures that hold outside of FER+ as well, and ``expressive``.

    What ``accurate`` says is for natural faces: its temperature is for these and the crowd's.
    """
    accurate = {key: one for key, one in samples.items() if key != ACTED}
    meant = {name: accurate if name == ACCURATE else samples for name in (*points, EXPRESSIVE)}
    fitted = {name: with_temperature(meant[name], prior, point, labels) for name, point in points.items()}
    fitted[EXPRESSIVE] = fit_expressive(samples, prior, points[BALANCED], labels)
    return {name: with_likely(meant[name], prior, point, labels) for name, point in fitted.items()}


def with_likely(
    samples: Mapping[str, Sample], prior: Sequence[float], point: OperatingPoint, labels: Sequence[str]
) -> OperatingPoint:
    """The point with the probability from which on an emotion is in a set that holds the truth COVERAGE of the time.

    Split conformal prediction with the truth's probability as score, for the set of faces that needs most: it holds on
    each.
    """
    least = 1.0
    for one in samples.values():
        answers = softmax(apply_point(one.logits, prior, point, labels))
        truths = np.sort(answers[np.arange(len(one.truth)), one.truth])
        least = min(least, float(truths[max(math.floor((len(truths) + 1) * (1 - COVERAGE)) - 1, 0)]))
    return point.model_copy(update={"likely_from": max(math.floor(least * 1e4) / 1e4, 1e-4)})


def with_temperature(
    samples: Mapping[str, Sample], prior: Sequence[float], point: OperatingPoint, labels: Sequence[str]
) -> OperatingPoint:
    """The point with the temperature at which the calibration error is smallest beside its limit on every set."""
    plain = point.model_copy(update={"temperature": 1.0})
    shifted = {key: Sample(apply_point(one.logits, prior, plain, labels), one.truth) for key, one in samples.items()}
    worst = [
        max(
            calibration_error(softmax(one.logits.astype(np.float64) / temperature), one.truth) / ECE_LIMITS[key]
            for key, one in shifted.items()
        )
        for temperature in TEMPERATURES
    ]
    return point.model_copy(update={"temperature": round(float(TEMPERATURES[int(np.argmin(worst))]), 2)})


def _slope(samples: Mapping[str, Sample], offsets: Array, calm: int | None) -> Array:
    """Gradient by the offsets of what ``fit_expressive`` raises."""
    slope = -2 * SHRINK * offsets
    for key, one in samples.items():
        answers = softmax((one.logits + offsets) * SHARPNESS)
        right = answers[np.arange(len(one.truth)), one.truth]
        size = np.bincount(one.truth, minlength=len(offsets))[one.truth]
        weights = WEIGHTS[key] * right / np.sqrt(size)
        weights /= (1 / np.sqrt(size)).sum()
        slope += SHARPNESS * (np.bincount(one.truth, weights, len(offsets)) - weights @ answers)
        if key == NATURAL and calm is not None:
            slope -= _alarm_slope(answers[one.truth == calm], calm)
    return slope


def _alarm_slope(answers: Array, calm: int) -> Array:
    """Gradient of the price of too many calm faces that are called something else."""
    if not len(answers):
        return np.zeros(answers.shape[1])
    kept = answers[:, calm]
    beyond = max(1 - float(kept.mean()) - ALARMS, 0.0)
    own = np.zeros(answers.shape[1])
    own[calm] = kept.mean()
    rise = SHARPNESS * (kept @ answers / len(kept) - own)  # of the share of alarms
    return np.asarray(2 * ALARM_COST * beyond * rise)

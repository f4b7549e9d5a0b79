"""The operating point for acted expressions, and temperatures that fit several kinds of faces.

Operating points that differ in strength only lie on one line. For expressions acted before a camera, *neutral* has to
be less likely, and the other emotions have other frequencies, than for the crowd's labels of photographs; the offsets
of ``expressive`` are fitted to both.
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
"""Kinds of faces: FER+'s validation split; photographs of people who do not act; people who act."""

ACCURATE, BALANCED, EXPRESSIVE = "accurate", "balanced", "expressive"
"""Names of operating points; the first two are chosen by ``train.evaluation.operating_points``."""

WEIGHTS = {CROWD: 0.25, NATURAL: 0.5, ACTED: 1.0}
"""Weight of each kind of faces in the fit of ``expressive``."""

ECE_LIMITS = {CROWD: 0.05, NATURAL: 0.05, ACTED: 0.12}
"""Largest calibration errors wanted; the temperature minimises the largest ratio of error to limit."""

COVERAGE = 0.9
"""Share of the faces whose emotion has to be in the set of likely ones."""

SHARPNESS = 1.5
"""Factor on the logits in the smooth approximation of accuracy: a larger one is closer but has smaller gradients."""

SHRINK = 0.02
"""Weight of the squared offsets, which keeps them small: small sets must not move a class far from ``balanced``."""

ALARMS = 0.5
"""Smooth share of calm natural faces that may be classified as something else; an excess costs quadratically."""

ALARM_COST = 30.0
STEPS, RATE = 1500, 0.02
TEMPERATURES = np.arange(0.4, 2.0, 0.01)


class Sample(NamedTuple):
    """Logits N x L of one kind of faces, and their N labels as columns."""

    logits: Logits
    truth: Labels


def fit_expressive(
    samples: Mapping[str, Sample], prior: Sequence[float], balanced: OperatingPoint, labels: Sequence[str]
) -> OperatingPoint:
    """Fit the point ``expressive``: the prior strength of ``balanced``, and an offset for each emotion.

    samples: of CROWD, NATURAL and ACTED. Gradient ascent (Adam) on the smooth accuracy, with each face weighted by its
    class's size to the power of -1/2, and with penalties SHRINK and ALARMS. Offsets are relative to neutral's, which
    changes no probability, and have two decimals.
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
    """``points`` with temperatures that fit faces outside FER+ as well, and ``expressive``.

    ``accurate`` is meant for natural faces: its temperature is fitted to these and the crowd's only.
    """
    accurate = {key: one for key, one in samples.items() if key != ACTED}
    meant = {name: accurate if name == ACCURATE else samples for name in (*points, EXPRESSIVE)}
    fitted = {name: with_temperature(meant[name], prior, point, labels) for name, point in points.items()}
    fitted[EXPRESSIVE] = fit_expressive(samples, prior, points[BALANCED], labels)
    return {name: with_likely(meant[name], prior, point, labels) for name, point in fitted.items()}


def with_likely(
    samples: Mapping[str, Sample], prior: Sequence[float], point: OperatingPoint, labels: Sequence[str]
) -> OperatingPoint:
    """The point with ``likely_from``: the emotions from this probability on hold the true one for COVERAGE of faces.

    Split conformal prediction with the probability of the true class as score. The lowest threshold of all kinds of
    faces is used, so that it holds for each.
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
    """The point with the temperature that minimises the largest ratio of calibration error to limit over all kinds."""
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
    """Gradient of ``fit_expressive``' objective with respect to the offsets."""
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
    """Gradient of the penalty for calm faces that are classified as something else."""
    if not len(answers):
        return np.zeros(answers.shape[1])
    kept = answers[:, calm]
    beyond = max(1 - float(kept.mean()) - ALARMS, 0.0)
    own = np.zeros(answers.shape[1])
    own[calm] = kept.mean()
    rise = SHARPNESS * (kept @ answers / len(kept) - own)  # gradient of the share of alarms
    return np.asarray(2 * ALARM_COST * beyond * rise)

"""How near an artefact is to the float model that it was made from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ModelError
from edge_emotion.models.classifier import softmax
from edge_emotion.models.manifest import Parity
from edge_emotion.protocols import FloatArray
from train.evaluation.metrics import Labels, bootstrap_interval, calibration_error, mcnemar

MAX_LOSS, MIN_AGREEMENT = 0.005, 0.95
"""The gate: what int8 may lose in accuracy, and how often it must say what the float model says."""


def compare(
    split: str,
    logits: FloatArray,
    reference: FloatArray,
    truth: Labels,
    *,
    shift: npt.ArrayLike = 0.0,
    temperature: float = 1.0,
) -> Parity:
    """Compare logits (N x L) with those of the float model for the same N faces of a split.

    Both at one operating point: ``(logits - shift) / temperature`` with L shifts. Needs no TensorFlow: a device proves
    its engine by this, too.
    """
    ours, theirs = (
        softmax((rows.astype(np.float64) - np.asarray(shift)) / temperature) for rows in (logits, reference)
    )
    right, float_right = ours.argmax(axis=1) == truth, theirs.argmax(axis=1) == truth
    difference = np.abs(ours - theirs)
    low, high = bootstrap_interval(right)
    return Parity(
        split=split,
        n=len(truth),
        accuracy=_round(right.mean()),
        interval=(_round(low), _round(high)),
        float_accuracy=_round(float_right.mean()),
        agreement=_round((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()),
        mean_difference=_round(difference.mean()),
        max_difference=_round(difference.max()),
        p_value=_round(mcnemar(right, float_right)),
        ece=_round(calibration_error(ours, truth)),
    )


def shortfalls(name: str, parity: Parity) -> list[str]:
    """What keeps an artefact from passing the gate; nothing if it passes."""
    faults = []
    loss = parity.float_accuracy - parity.accuracy
    if loss > MAX_LOSS:
        faults.append(
            f"{name} is {100 * loss:.2f} points less accurate than the float model, allowed are {100 * MAX_LOSS:.1f}"
        )
    if parity.agreement < MIN_AGREEMENT:
        faults.append(
            f"{name} agrees with the float model on {parity.agreement:.1%} of the faces, needed are {MIN_AGREEMENT:.0%}"
        )
    return faults


def require_parity(artefacts: Mapping[str, Parity]) -> None:
    """Raises ModelError with every shortfall of every artefact."""
    faults = [fault for name, parity in artefacts.items() for fault in shortfalls(name, parity)]
    if faults:
        raise ModelError("; ".join(faults))


def describe(name: str, parity: Parity) -> str:
    """One line of a table."""
    low, high = parity.interval
    return (
        f"{name:44} accuracy {parity.accuracy:.2%} ({low:.2%} to {high:.2%}), float {parity.float_accuracy:.2%} "
        f"(p = {parity.p_value:.2f}), agreement {parity.agreement:.2%}, probabilities differ by "
        f"{parity.mean_difference:.4f}, at most {parity.max_difference:.3f}, ECE {parity.ece:.3f}"
    )


def _round(value: float | np.floating) -> float:
    return round(float(value), 5)

"""Risk and coverage of the quality gate: faces that are named, and named wrongly, with and without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.harness.progress import show_progress
from benchmarks.quality.corruptions import CORRUPTIONS, corrupt
from benchmarks.quality.faces import percent, share
from benchmarks.quality.robustness import CLEAN
from benchmarks.results.results import Measurement
from edge_emotion.config.settings import PolicySettings, QualitySettings
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.quality_gate import Doubt, NeededConfidence, QualityGate
from edge_emotion.protocols import FaceDetector
from train.data.faces import Faces
from train.data.layouts.finder import chosen_face

CURVE = 0.5, 0.6, 0.7, 0.8, 0.9, 1.01
"""Confidences that a face with a doubt may need; the last one names none of them."""


class Answer(NamedTuple):
    """The answer for one face that was found: whether it is right, its confidence, and the doubt about the picture."""

    right: bool
    confidence: float
    doubt: Doubt | None


def measure_gate(
    classifiers: Mapping[str, EmotionClassifier],
    detector: FaceDetector,
    faces: Faces,
    classes: Sequence[str],
    *,
    corruptions: Sequence[str],
    severity: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Each face as it is and under each corruption at one severity; shares of all faces whose class the model has.

    ``open`` names every emotion from ``policy.threshold`` on, ``gated`` those that the gate lets through; ``curve`` has
    the same for each confidence of CURVE that all doubts need.
    """
    steps: dict[str, Any] = {}
    for done, name in enumerate((CLEAN, *corruptions)):
        show_progress("quality gate", done, len(corruptions) + 1)
        degree = 0 if name == CLEAN else severity
        answers = _answers(classifiers, detector, faces, classes, name, degree, seed=seed)
        steps[name] = {model: gate_shares(*given) for model, given in answers.items()}
    show_progress("quality gate", len(steps), len(steps))
    return {"severity": severity, "units": {name: CORRUPTIONS[name].unit for name in corruptions}, "steps": steps}


def _answers(
    classifiers: Mapping[str, EmotionClassifier],
    detector: FaceDetector,
    faces: Faces,
    classes: Sequence[str],
    name: str,
    severity: int,
    *,
    seed: int,
) -> dict[str, tuple[list[Answer], int]]:
    """For each model its answers for the faces that were found, and the number of all faces whose class it has."""
    needed = NeededConfidence(**QualitySettings().model_dump())
    gates = {model: QualityGate(needed, one.manifest.input) for model, one in classifiers.items()}
    answers: dict[str, list[Answer]] = {model: [] for model in classifiers}
    totals: Counter[str] = Counter()
    for row, face in enumerate(faces.images):
        truth = classes[faces.labels[row]]
        image, square = corrupt(face, name, severity, np.random.default_rng((seed, row)))
        hit = chosen_face(detector.detect(image), square)
        for model in (model for model, one in classifiers.items() if truth in one.labels):
            totals[model] += 1
            if hit is not None:
                crops = classifiers[model].crops(image, [hit])
                (doubt,), (scores,) = gates[model].doubts(crops, [hit]), classifiers[model].judge(crops)
                answers[model].append(Answer(scores.emotion == truth, scores.confidence, doubt))
    return {model: (answers[model], totals[model]) for model in classifiers}


def gate_shares(answers: Sequence[Answer], n: int) -> dict[str, Any]:
    """Shares of ``n`` faces that are named, and named wrongly; reasons are counted where the gate does not name."""
    threshold = PolicySettings().threshold
    right, confidence = np.array([one.right for one in answers], bool), np.array([one.confidence for one in answers])
    doubtful = np.array([one.doubt is not None for one in answers], bool)
    needed = np.array([threshold if one.doubt is None else one.doubt.confidence for one in answers])
    shut = (confidence >= threshold) & (confidence < needed)
    return {
        "open": _named(right, confidence >= threshold, n),
        "gated": _named(right, confidence >= np.maximum(needed, threshold), n),
        "reasons": Counter(
            one.doubt.reason for one, is_shut in zip(answers, shut, strict=True) if one.doubt and is_shut
        ),
        "curve": {
            f"{least:g}": _named(right, confidence >= np.where(doubtful, max(least, threshold), threshold), n)
            for least in CURVE
        },
    }


def _named(right: npt.NDArray[np.bool_], named: npt.NDArray[np.bool_], n: int) -> dict[str, Any]:
    return {"named": share(int(named.sum()), n), "wrong": share(int((named & ~right).sum()), n)}


def gate_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """The measurements in ``measure_gate``' result."""
    for name, models in measured["steps"].items():
        for model, shares in models.items():
            for way in ("open", "gated"):
                subject = f"{name}, {model}, {way}"
                yield from percent(subject, "named", shares[way]["named"])
                wrong = percent(subject, "named wrongly", shares[way]["wrong"])
                yield from (one.model_copy(update={"better": "lower"}) for one in wrong)

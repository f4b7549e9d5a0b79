"""How much of the whole path is left when pictures get worse: detection rate and accuracy over severity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness.progress import show_progress
from benchmarks.quality.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from benchmarks.quality.faces import percent, share
from benchmarks.results.results import Measurement
from edge_emotion.errors import ConfigError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.protocols import FaceDetector
from train.data.faces import Faces
from train.data.layouts.finder import chosen_face

CLEAN = "clean"
Said = Mapping[str, npt.NDArray[np.int64]]
"""By model: of N faces the position of what was said in its labels, or -1 where the face was not found."""


def check_corruptions(names: Sequence[str]) -> tuple[str, ...]:
    """The corruptions of these names, all if none is named. Raises ConfigError for one that there is not."""
    for name in names:
        if name not in CORRUPTIONS:
            raise ConfigError(f"unknown corruption {name!r}: use {', '.join(CORRUPTIONS)}")
    return tuple(dict.fromkeys(names)) or tuple(CORRUPTIONS)


def measure_robustness(
    classifiers: Mapping[str, EmotionClassifier],
    detector: FaceDetector,
    faces: Faces,
    classes: Sequence[str],
    *,
    corruptions: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Each face in a picture, as it is and under every corruption at every severity; found, then classified.

    ``detection``: shares of all faces. ``models``: by name, ``accuracy`` of the faces found and ``right``, the share of
    all faces that were found and named rightly; of those whose class the model knows. Where a face lies in its
    picture depends on ``seed`` and the face alone, so that severities differ in nothing else.
    """
    steps = [(CLEAN, 0), *((name, severity) for name in corruptions for severity in SEVERITIES)]
    rows = []
    for done, (name, severity) in enumerate(steps):
        show_progress("robustness", done, len(steps))
        said = classify_corrupted(classifiers, detector, faces, name, severity, seed=seed)
        value = CORRUPTIONS[name].values[severity - 1] if severity else None
        step = {"corruption": name, "severity": severity, "value": value}
        rows.append(step | _shares(classifiers, said, faces, classes))
    show_progress("robustness", len(steps), len(steps))
    return {"units": {name: CORRUPTIONS[name].unit for name in corruptions}, "steps": rows}


def classify_corrupted(
    classifiers: Mapping[str, EmotionClassifier],
    detector: FaceDetector,
    faces: Faces,
    name: str,
    severity: int,
    *,
    seed: int,
) -> Said:
    """What each classifier says of N faces under one corruption; the detector looks once for all of them."""
    said = {model: np.full(len(faces), -1) for model in classifiers}
    for row, face in enumerate(faces.images):
        image, square = corrupt(face, name, severity, np.random.default_rng((seed, row)))
        hit = chosen_face(detector.detect(image), square)
        if hit is not None:
            for model, classifier in classifiers.items():
                said[model][row] = classifier.classify(image, [hit])[0].best
    return said


def _shares(
    classifiers: Mapping[str, EmotionClassifier], said: Said, faces: Faces, classes: Sequence[str]
) -> dict[str, Any]:
    found = next(iter(said.values())) >= 0
    models = {
        model: model_shares(said[model], _truth(classifier, faces, classes))
        for model, classifier in classifiers.items()
    }
    return {"detection": share(int(found.sum()), len(faces)), "models": models}


def model_shares(said: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Accuracy of the faces found, and share of all found and right; truth -1: a class that the model does not know."""
    known = truth >= 0
    found, hits = known & (said >= 0), int((known & (said == truth)).sum())
    return {"accuracy": share(hits, int(found.sum())), "right": share(hits, int(known.sum()))}


def _truth(classifier: EmotionClassifier, faces: Faces, classes: Sequence[str]) -> npt.NDArray[np.int64]:
    labels = classifier.labels
    return np.array([labels.index(name) if name in labels else -1 for name in classes])[faces.labels]


def robustness_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """What ``measure_robustness`` found, as figures of each step."""
    for step in measured["steps"]:
        subject = step["corruption"] + ("" if step["value"] is None else f" {step['severity']} ({step['value']:g})")
        yield from percent(subject, "found", step["detection"])
        for model, shares in step["models"].items():
            yield from percent(subject, f"{model}, right if found", shares["accuracy"])

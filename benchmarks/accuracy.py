"""How right deployed artefacts are: every file of a model by every backend that is here, on the same faces."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.quality import Model, as_percent, share
from edge_emotion.classifier import EmotionClassifier
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.golden import replay_golden
from edge_emotion.protocols import FaceDetector
from train.artefacts import artefacts
from train.duels import duel
from train.evaluate import Answer, describe, evaluate, translate
from train.faces import Faces
from train.figures import Figures
from train.logits import logits_of
from train.whole_path import WholePath, measure_whole_path


class Loaded(NamedTuple):
    """One artefact that runs here, named 'model: file (backend)'."""

    name: str
    model: str
    classifier: EmotionClassifier
    size_bytes: int


def load_artefacts(
    models: Sequence[Model],
    *,
    backend: str | None,
    operating_point: str | None,
    missing: dict[str, str],
) -> Iterator[Loaded]:
    """Each artefact in turn. One that does not run here, or fails its self-test, goes to ``missing`` with the reason.

    Raises ConfigError for an operating point that a model does not have.
    """
    for model, folder, manifest in models:
        for file, entry, make in artefacts(manifest, folder, backend):
            name = f"{model}: {file}"
            try:
                runner = make()
                classifier = EmotionClassifier(manifest, runner, entry=entry, operating_point=operating_point)
                replay_golden(classifier, entry)
            except (BackendUnavailable, ModelError) as error:
                missing[name] = str(error)
                continue
            yield Loaded(name, model, classifier, (folder / entry.file).stat().st_size)


def measure_accuracy(
    models: Sequence[Model],
    faces: Faces,
    classes: tuple[str, ...],
    *,
    backend: str | None = None,
    operating_point: str | None = None,
    detector: FaceDetector | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of every artefact on N faces labelled with ``classes``, and a duel of every two of them.

    With a ``detector`` also the whole path of each model's first artefact: pasted into pictures, found, aligned,
    classified. Faces of a class that a model does not know do not count for it. Raises ModelError if nothing runs here.
    """
    measured: dict[str, Any] = {}
    right: dict[str, npt.NDArray[np.int8]] = {}
    missing: dict[str, str] = {}
    paths: dict[str, Any] = {}
    loaded = load_artefacts(models, backend=backend, operating_point=operating_point, missing=missing)
    for name, model, classifier, size in loaded:
        print(f"{name} ...", file=sys.stderr)
        said = answer_of(classifier, faces, name)
        figures = evaluate(said, faces.labels, classes)
        measured[name] = {
            "model": model,
            "version": classifier.manifest.version,
            "file": classifier.entry.file,
            "sha256": classifier.entry.sha256,
            "backend": classifier.backend.name,
            "size_bytes": size,
            "figures": figures.model_dump(mode="json"),
        }
        right[name] = rightness(said, faces, classes)
        if detector is not None and model not in paths:
            paths[model] = whole_path(classifier, detector, faces, classes, seed=seed)
        classifier.backend.close()
    if not measured:
        raise ModelError("no artefact runs here: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
    return {"artefacts": measured, "duels": duels(right), "whole_path": paths, "not_measured": missing}


def answer_of(classifier: EmotionClassifier, faces: Faces, name: str) -> Answer:
    """What a classifier says of cropped faces at its operating point, as log-probabilities."""
    scores = classifier.scores(logits_of(classifier.backend, faces, classifier.manifest.input))
    probabilities = np.array([row.probabilities for row in scores])
    return Answer(name, classifier.labels, np.log(np.maximum(probabilities, 1e-12)))


def rightness(said: Answer, faces: Faces, classes: tuple[str, ...]) -> npt.NDArray[np.int8]:
    """Of N faces: 1 right, 0 wrong, -1 of a class that the model does not know."""
    rows, truth = translate(faces.labels, classes, said.classes)
    right = np.full(len(faces), -1, np.int8)
    right[rows] = said.logits[rows].argmax(axis=1) == truth
    return right


def duels(right: Mapping[str, npt.NDArray[np.int8]]) -> list[dict[str, Any]]:
    """McNemar's exact test of every two artefacts, on the faces whose class both know."""
    pairs = []
    for first, second in combinations(right, 2):
        both = (right[first] >= 0) & (right[second] >= 0)
        pairs.append(duel(first, right[first][both] == 1, second, right[second][both] == 1)._asdict())
    return pairs


def whole_path(
    classifier: EmotionClassifier, detector: FaceDetector, faces: Faces, classes: tuple[str, ...], *, seed: int
) -> dict[str, Any]:
    """The whole path on the faces whose class the model knows. Raises DataError if the detector finds none."""
    rows, truth = translate(faces.labels, classes, classifier.labels)
    path: WholePath = measure_whole_path(classifier, detector, faces.take(rows), truth, seed=seed)
    return {**asdict(path), "difference": path.difference, "detection": share(path.found, path.n)}


def describe_accuracy(measured: Mapping[str, Any]) -> str:
    """The figures as lines for a terminal."""
    lines = []
    for name, one in measured["artefacts"].items():
        figures = Figures.model_validate(one["figures"])
        lines.append(f"{name}, {one['size_bytes'] / 1e6:.2f} MB, {one['backend']}\n{describe(figures)}")
    for model, path in measured["whole_path"].items():
        low, high = path["interval"]
        lines.append(
            f"{model}, whole path: found {as_percent(path['detection'])} of {path['n']}; of these right "
            f"{path['accuracy']:.2%}, as cropped {path['cropped']:.2%}, difference {path['difference']:+.2%} "
            f"(95 % {low:+.2%} to {high:+.2%})"
        )
    for one in measured["duels"]:
        lines.append(
            f"only {one['first']} right: {one['only_first']}, only {one['second']} right: {one['only_second']}, "
            f"of {one['n']}: p = {one['p']:.3g} (McNemar, exact)"
        )
    lines += [f"not measured: {name}: {why}" for name, why in measured["not_measured"].items()]
    return "\n".join(lines)

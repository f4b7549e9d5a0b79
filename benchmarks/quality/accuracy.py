"""How right deployed artefacts are: every file of a model by every backend that is here, on the same faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.harness.progress import show_progress
from benchmarks.quality.faces import Model, percent, scored, share
from benchmarks.results.paired import keep_rightness
from benchmarks.results.results import Measurement
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.self_test import replay_golden
from edge_emotion.protocols import FaceDetector
from train.data.faces import Faces
from train.evaluation.artefacts import artefacts
from train.evaluation.end_to_end import WholePath, measure_whole_path
from train.evaluation.evaluate import Answer, evaluate, translate
from train.evaluation.logits import logits_of
from train.evaluation.mcnemar import duel
from train.evaluation.metrics import Interval
from train.evaluation.model_figures import Figures

PIECE = 128
"""Faces between two lines of progress."""


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
    detectors: Mapping[str, Callable[[], FaceDetector]] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of every artefact on N faces labelled with ``classes``, and a duel of every two of them.

    With ``detectors``, by what their faces are called and made anew for each model, also the whole path of each model's
    first artefact: pasted into pictures, found, aligned, classified. Faces of a class that a model does not know do not
    count for it. Raises ModelError if nothing runs here.
    """
    measured: dict[str, Any] = {}
    right: dict[str, npt.NDArray[np.int8]] = {}
    missing: dict[str, str] = {}
    paths: dict[str, Any] = {}
    loaded = load_artefacts(models, backend=backend, operating_point=operating_point, missing=missing)
    for name, model, classifier, size in loaded:
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
        for called, make_detector in (detectors or {}).items():
            if (subject := f"{model}, {called}") not in paths:
                paths[subject] = whole_path(classifier, make_detector(), faces, classes, seed=seed, name=subject)
        classifier.backend.close()
    if not measured:
        raise ModelError("no artefact runs here: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
    kept = keep_rightness(right, faces, classes)
    return {"artefacts": measured, "duels": duels(right), "whole_path": paths, "not_measured": missing, **kept}


def answer_of(classifier: EmotionClassifier, faces: Faces, name: str) -> Answer:
    """What a classifier says of cropped faces at its operating point, as log-probabilities."""
    pieces = []
    for begin in range(0, len(faces), PIECE):
        piece = faces.take(np.arange(begin, min(begin + PIECE, len(faces))))
        pieces.append(logits_of(classifier.backend, piece, classifier.manifest.input))
        show_progress(name, begin + len(piece), len(faces), step=len(piece))
    scores = classifier.scores(np.concatenate(pieces))
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
    classifier: EmotionClassifier,
    detector: FaceDetector,
    faces: Faces,
    classes: tuple[str, ...],
    *,
    seed: int,
    name: str,
) -> dict[str, Any]:
    """The whole path on the faces whose class the model knows. Raises DataError if the detector finds none."""
    rows, truth = translate(faces.labels, classes, classifier.labels)
    told = partial(show_progress, name)
    path: WholePath = measure_whole_path(classifier, detector, faces.take(rows), truth, seed=seed, progress=told)
    more = {"interval": list(path.interval), "difference": path.difference, "detection": share(path.found, path.n)}
    return {**asdict(path), **more}


def accuracy_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """What ``measure_accuracy`` found, as figures: of each artefact, and of each model's whole paths."""
    for name, one in measured["artefacts"].items():
        yield from _artefact_measurements(name, Figures.model_validate(one["figures"]))
        size = round(one["size_bytes"] / 1e6, 4)
        yield Measurement(subject=name, metric="file", unit="MB", better="lower", runs=(size,))
    for subject, path in measured["whole_path"].items():
        yield from percent(subject, "found", path["detection"])
        for metric, key in (("right if found", "accuracy"), ("as cropped", "cropped")):
            yield from percent(subject, metric, share(round(path[key] * path["found"]), path["found"]))
        difference = scored(subject, "difference", path["difference"], n=path["found"], interval=path["interval"])
        yield difference.model_copy(update={"better": None})  # it has a sign: no ratio of it says anything


def _artefact_measurements(name: str, figures: Figures) -> Iterator[Measurement]:
    def figure(metric: str, value: float, interval: Interval | None = None) -> Measurement:
        return scored(name, metric, value, n=figures.n, interval=interval)

    yield figure("accuracy", figures.accuracy, figures.accuracy_interval)
    if figures.balanced_accuracy_7 is not None:
        yield figure("balanced accuracy", figures.balanced_accuracy_7, figures.balanced_accuracy_7_interval)
    yield figure("macro-F1", figures.macro_f1, figures.macro_f1_interval)
    yield figure("top-2", figures.top2, figures.top2_interval)
    yield figure("ECE", figures.ece).model_copy(update={"better": "lower"})
    for label, one in figures.per_class.items():
        if one.recall is not None:
            yield scored(name, f"recall {label}", one.recall, n=one.n, interval=one.interval)


def accuracy_notes(measured: Mapping[str, Any]) -> Iterator[str]:
    """How many faces show each emotion, and the duels, a line each."""
    classes = [one["figures"]["per_class"] for one in measured["artefacts"].values()]
    known = {label: one["n"] for each in classes for label, one in each.items()}
    yield "faces: " + ", ".join(f"{label} {n:,}" for label, n in known.items())
    if "contempt" in known:
        yield "balanced accuracy: mean recall without contempt"
    yield from duel_notes(measured["duels"])


def duel_notes(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each McNemar test."""
    for one in found:
        yield (
            f"only {one['first']} right: {one['only_first']}, only {one['second']} right: {one['only_second']}, "
            f"of {one['n']}: p = {one['p']:.3g} (McNemar, exact)"
        )

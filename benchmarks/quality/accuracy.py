"""Accuracy of deployed artefacts: every file of a model in every backend available here, on the same faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.harness.progress import show_progress
from benchmarks.quality.faces import Model, percent, scored, share
from benchmarks.results.paired import keep_correctness
from benchmarks.results.results import Measurement
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.self_test import run_self_test
from edge_emotion.protocols import FaceDetector
from train.data.faces import Faces
from train.evaluation.artefacts import artefacts
from train.evaluation.elsewhere import Elsewhere
from train.evaluation.elsewhere_figures import measure_points
from train.evaluation.end_to_end import EndToEnd, measure_end_to_end
from train.evaluation.evaluate import Answer, evaluate, translate
from train.evaluation.logits import logits_of
from train.evaluation.mcnemar import mcnemar_test
from train.evaluation.metrics import Interval
from train.evaluation.model_figures import Figures

PIECE = 128
"""Faces per batch, between two updates of the progress."""


class Loaded(NamedTuple):
    """One artefact loaded in one backend; its name is 'model: file (backend)'."""

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
    """Load each artefact in turn. One that cannot run, or fails its self-test, goes to ``missing`` with the reason.

    Raises ConfigError for an operating point that a model does not have.
    """
    for model, folder, manifest in models:
        for file, entry, make in artefacts(manifest, folder, backend):
            name = f"{model}: {file}"
            try:
                runner = make()
                classifier = EmotionClassifier(manifest, runner, entry=entry, operating_point=operating_point)
                run_self_test(classifier, entry)
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
    elsewhere: Mapping[str, Elsewhere] = MappingProxyType({}),
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of every artefact on N faces labelled with ``classes``, and McNemar's test of every pair of artefacts.

    ``detectors``: name -> function that makes a detector. For each of them, the first artefact of each model is also
    measured end to end: faces pasted into pictures, detected, aligned, classified. Faces of classes that a model does
    not have are left out for it. ``elsewhere`` are further sets, on which each artefact is measured at every operating
    point. Raises ModelError if no artefact runs here.
    """
    measured: dict[str, Any] = {}
    right: dict[str, npt.NDArray[np.int8]] = {}
    missing: dict[str, str] = {}
    paths: dict[str, Any] = {}
    loaded = load_artefacts(models, backend=backend, operating_point=operating_point, missing=missing)
    for name, model, classifier, size in loaded:
        answer = answer_of(classifier, faces, name)
        figures = evaluate(answer, faces.labels, classes)
        measured[name] = {
            "model": model,
            "version": classifier.manifest.version,
            "file": classifier.entry.file,
            "sha256": classifier.entry.sha256,
            "backend": classifier.backend.name,
            "size_bytes": size,
            "figures": figures.model_dump(mode="json"),
            "elsewhere": {
                called: {point: one.model_dump(mode="json") for point, one in measure_points(classifier, data).items()}
                for called, data in elsewhere.items()
            },
        }
        right[name] = correctness(answer, faces, classes)
        for called, make_detector in (detectors or {}).items():
            if (subject := f"{model}, {called}") not in paths:
                paths[subject] = end_to_end(classifier, make_detector(), faces, classes, seed=seed, name=subject)
        classifier.backend.close()
    if not measured:
        raise ModelError("no artefact runs here: " + "; ".join(f"{name}: {why}" for name, why in missing.items()))
    kept = keep_correctness(right, faces, classes)
    return {"artefacts": measured, "duels": mcnemar_tests(right), "whole_path": paths, "not_measured": missing, **kept}


def answer_of(classifier: EmotionClassifier, faces: Faces, name: str) -> Answer:
    """Log-probabilities of a classifier for cropped faces, at its operating point."""
    pieces = []
    for begin in range(0, len(faces), PIECE):
        piece = faces.take(np.arange(begin, min(begin + PIECE, len(faces))))
        pieces.append(logits_of(classifier.backend, piece, classifier.manifest.input))
        show_progress(name, begin + len(piece), len(faces), step=len(piece))
    scores = classifier.scores(np.concatenate(pieces))
    probabilities = np.array([row.probabilities for row in scores])
    return Answer(name, classifier.labels, np.log(np.maximum(probabilities, 1e-12)))


def correctness(answer: Answer, faces: Faces, classes: tuple[str, ...]) -> npt.NDArray[np.int8]:
    """Result for each of N faces: 1 right, 0 wrong, -1 for a class that the model does not have."""
    rows, truth = translate(faces.labels, classes, answer.classes)
    right = np.full(len(faces), -1, np.int8)
    right[rows] = answer.logits[rows].argmax(axis=1) == truth
    return right


def mcnemar_tests(right: Mapping[str, npt.NDArray[np.int8]]) -> list[dict[str, Any]]:
    """McNemar's exact test of every pair of artefacts, on the faces whose class both have."""
    pairs = []
    for first, second in combinations(right, 2):
        both = (right[first] >= 0) & (right[second] >= 0)
        pairs.append(mcnemar_test(first, right[first][both] == 1, second, right[second][both] == 1)._asdict())
    return pairs


def end_to_end(
    classifier: EmotionClassifier,
    detector: FaceDetector,
    faces: Faces,
    classes: tuple[str, ...],
    *,
    seed: int,
    name: str,
) -> dict[str, Any]:
    """End-to-end figures on the faces whose class the model has. Raises DataError if the detector finds none."""
    rows, truth = translate(faces.labels, classes, classifier.labels)
    progress = partial(show_progress, name)
    path: EndToEnd = measure_end_to_end(classifier, detector, faces.take(rows), truth, seed=seed, progress=progress)
    more = {"interval": list(path.interval), "difference": path.difference, "detection": share(path.found, path.n)}
    return {**asdict(path), **more}


def accuracy_measurements(measured: Mapping[str, Any]) -> Iterator[Measurement]:
    """The measurements in ``measure_accuracy``' result: of each artefact, and of each model end to end."""
    for name, one in measured["artefacts"].items():
        yield from _artefact_measurements(name, Figures.model_validate(one["figures"]))
        yield from _elsewhere_measurements(name, one["elsewhere"])
        size = round(one["size_bytes"] / 1e6, 4)
        yield Measurement(subject=name, metric="file", unit="MB", better="lower", runs=(size,))
    for subject, path in measured["whole_path"].items():
        yield from percent(subject, "found", path["detection"])
        for metric, key in (("right if found", "accuracy"), ("as cropped", "cropped")):
            yield from percent(subject, metric, share(round(path[key] * path["found"]), path["found"]))
        difference = scored(subject, "difference", path["difference"], n=path["found"], interval=path["interval"])
        yield difference.model_copy(update={"better": None})  # it may be negative: ratios of it are meaningless


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


def _elsewhere_measurements(name: str, sets: Mapping[str, Mapping[str, Any]]) -> Iterator[Measurement]:
    for called, points in sets.items():
        for point, one in points.items():
            subject = f"{name}, {called}, {point}"
            yield scored(subject, "accuracy", one["accuracy"], n=one["n"], interval=one["interval"])
            yield scored(subject, "mean recall", one["mean_recall"], n=one["n"])
            for metric, key in (("ECE", "ece"), ("false alarms", "false_alarms")):
                if one[key] is not None:
                    n = one["n"] if key == "ece" else one["count"]["neutral"]
                    yield scored(subject, metric, one[key], n=n).model_copy(update={"better": "lower"})


def accuracy_notes(measured: Mapping[str, Any]) -> Iterator[str]:
    """Notes on ``measure_accuracy``' result: faces per emotion and McNemar tests, a line each."""
    classes = [one["figures"]["per_class"] for one in measured["artefacts"].values()]
    known = {label: one["n"] for each in classes for label, one in each.items()}
    yield "faces: " + ", ".join(f"{label} {n:,}" for label, n in known.items())
    if "contempt" in known:
        yield "balanced accuracy: mean recall without contempt"
    yield from _elsewhere_notes(measured["artefacts"])
    yield from mcnemar_notes(measured["duels"])


def _elsewhere_notes(artefacts: Mapping[str, Any]) -> Iterator[str]:
    """One line per further data set: its faces, pictures, persons and emotions."""
    sets = next(iter(artefacts.values()))["elsewhere"]
    for called, points in sets.items():
        one = next(iter(points.values()))
        count = ", ".join(f"{label} {n:,}" for label, n in one["count"].items() if n)
        yield (
            f"{called}: {one['n']:,} faces found in {one['pictures']:,} pictures, {one['persons']:,} persons, over "
            f"whom the intervals are; no emotion is excluded; {count}"
        )
    if sets:
        yield "false alarms: neutral faces with another emotion at a confidence of at least 50 %"


def mcnemar_notes(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line per McNemar test."""
    for one in found:
        yield (
            f"only {one['first']} right: {one['only_first']}, only {one['second']} right: {one['only_second']}, "
            f"of {one['n']}: p = {one['p']:.3g} (McNemar, exact)"
        )

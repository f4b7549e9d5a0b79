"""Comparison of several trained models on the same faces: figures, curves, settings, mistakes, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ConfigError
from edge_emotion.models.classifier import EmotionClassifier, softmax
from edge_emotion.models.manifest import OperatingPoint
from train.data.faces import DataSet, Faces, Split
from train.evaluation.complexity import Complexity, measure_complexity
from train.evaluation.evaluate import translate
from train.evaluation.mcnemar import McNemarTest, mcnemar_test
from train.evaluation.metrics import Labels, seven_of
from train.evaluation.model_figures import Figures, compute_figures, subset_figures
from train.evaluation.operating_points import (
    CurvePoint,
    apply_point,
    choose_operating_points,
    measure_point,
    operating_curve,
)
from train.evaluation.predict import Prediction, with_own_names
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import CLASS_SETS

MISTAKES = 18
"""Number of the most confident mistakes to keep."""

UNINTERESTING = {"class_prior", "summary"}
"""Parts of a run's record that repeat other parts."""

Settings = dict[str, str]


class Mistake(NamedTuple):
    """A misclassified face: its row among the measured faces, its class, the predicted class and its probability."""

    row: int
    truth: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Result:
    """One model on one split.

    ``origin``: the model's version and files, or the run's start and commit. ``point``: the operating point of
    ``figures``; ``marked``: the named ones on the curve. ``right``: bool, one per face of the split; ``covered``: False
    for faces of a class that the model lacks.
    """

    name: str
    origin: str
    settings: Settings
    point: str
    figures: Figures
    subsets: dict[str, Figures]
    curve: list[CurvePoint]
    marked: dict[str, CurvePoint]
    history: dict[str, list[float]]
    mistakes: list[Mistake]
    size_bytes: int
    complexity: Complexity | None
    right: npt.NDArray[np.bool_]
    covered: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Several models on the measured faces of one split.

    ``measured``: when, in UTC. ``fingerprint``: SHA-256 of all faces of the split.
    """

    measured: datetime
    dataset: str
    protocol: str
    split: Split
    fingerprint: str
    faces: Faces
    results: list[Result]

    @property
    def mcnemar_tests(self) -> list[McNemarTest]:
        """McNemar's test of every pair of models."""
        return [_mcnemar_test(a, b) for a, b in combinations(self.results, 2)]

    @property
    def differences(self) -> list[tuple[str, list[str | None]]]:
        """Settings that differ between models, None where a model lacks one; all settings of a single model."""
        keys = dict.fromkeys(key for result in self.results for key in result.settings)
        rows = [(key, [result.settings.get(key) for result in self.results]) for key in keys]
        return [(key, row) for key, row in rows if len(row) == 1 or len({value for value in row if value}) > 1]


def compare_models(predictions: Sequence[Prediction], data: DataSet, split: Split) -> Comparison:
    """Compute the results of models on the clear faces of ``split``, each on the faces whose class it has.

    Raises DataError if a model has none of their classes.
    """
    faces = data[split].majority()
    results = [_result(one, data.classes, faces, split) for one in with_own_names(predictions)]
    now, fingerprint = datetime.now(timezone.utc), data.fingerprint([split])
    return Comparison(now, data.name, data.protocol, split, fingerprint, faces, results)


def _result(prediction: Prediction, classes: Sequence[str], faces: Faces, split: Split) -> Result:
    rows, known = translate(faces.labels, classes, prediction.classes)
    covered = np.zeros(len(faces), np.bool_)
    covered[rows] = True
    logits = prediction.logits[rows]
    prior, points = _prior(prediction), _points(prediction, known, logits, split)
    point = "as trained" if prediction.run is not None else "those of its members"
    shipped = logits.astype(np.float64)
    if prediction.classifier is not None and prior is not None:
        point = prediction.classifier.manifest.calibration.default
        shipped = apply_point(logits, prior, points[point], prediction.classes)
    right = np.zeros(len(faces), np.bool_)
    right[covered] = shipped.argmax(axis=1) == known
    seven = seven_of(prediction.classes) or None
    return Result(
        name=prediction.name,
        origin=_origin(prediction),
        settings=_settings(prediction),
        point=point,
        figures=compute_figures(known, shipped, prediction.classes),
        subsets=_subsets(known, shipped, prediction.classes),
        curve=operating_curve(logits, known, prior, columns=seven) if prior is not None else [],
        marked={
            key: measure_point(logits, known, prior, value, prediction.classes)
            for key, value in points.items()
            if prior is not None
        },
        history=prediction.run.history if prediction.run is not None else {},
        mistakes=_mistakes(known, shipped, prediction.classes, np.flatnonzero(covered)),
        size_bytes=prediction.size_bytes,
        complexity=_complexity(prediction),
        right=right,
        covered=covered,
    )


def _origin(prediction: Prediction) -> str:
    if prediction.classifier is not None:
        manifest, entry = prediction.classifier.manifest, prediction.classifier.entry
        backend = prediction.classifier.backend.name
        return f"version {manifest.version}, {entry.file}, sha256 {entry.sha256}, {backend}"
    if prediction.run is None:
        return "mean of the probabilities of its members"
    record = prediction.run.record
    facts = {key: record[key] for key in ("start", "commit", "epochs", "best_epoch") if key in record}
    return "training run, " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())


def _prior(prediction: Prediction) -> npt.NDArray[np.float64] | None:
    """The class prior of the training data, None where unknown."""
    if prediction.classifier is not None:
        return np.array(prediction.classifier.manifest.calibration.class_prior)
    prior = prediction.run.record.get("class_prior") if prediction.run is not None else None
    return None if prior is None else np.array(prior, np.float64)


def _points(prediction: Prediction, truth: Labels, logits: Any, split: Split) -> Mapping[str, OperatingPoint]:
    """The operating points of an exported model; for a run on the validation split, those that would be chosen."""
    if prediction.classifier is not None:
        return prediction.classifier.manifest.calibration.operating_points
    prior = _prior(prediction)
    if prior is None or split != "validation":
        return {}
    return choose_operating_points(logits, truth, prior, prediction.classes)


def _subsets(truth: Labels, logits: Any, classes: Sequence[str]) -> dict[str, Figures]:
    """Number of classes -> figures on this smaller class set, for the sets that the model has."""
    return {
        key: subset_figures(truth, logits, classes, names)
        for key, names in CLASS_SETS.items()
        if set(names) < set(classes) and np.isin(truth, [classes.index(name) for name in names]).any()
    }


def _mistakes(
    truth: Labels, logits: npt.NDArray[np.float64], classes: Sequence[str], rows: npt.NDArray[np.int64]
) -> list[Mistake]:
    probabilities = softmax(logits)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [
        Mistake(int(rows[i]), classes[truth[i]], classes[predicted[i]], float(confidence[i])) for i in worst.tolist()
    ]


def _mcnemar_test(a: Result, b: Result) -> McNemarTest:
    both = a.covered & b.covered
    return mcnemar_test(a.name, a.right[both], b.name, b.right[both])


def _settings(prediction: Prediction) -> Settings:
    """A run's record or a model's training facts, as dotted names and texts."""
    if prediction.run is not None:
        return _flat(prediction.run.record)
    return _manifest_settings(prediction.classifier) if prediction.classifier is not None else {}


def _manifest_settings(classifier: EmotionClassifier) -> Settings:
    manifest, training = classifier.manifest, classifier.manifest.training
    recipe = {"name": training.recipe, "seed": training.seed, "epochs": training.epochs}
    facts = training.model_dump(mode="json", include={"start", "dataset", "protocol", "commit"})
    picture = manifest.input.model_dump(mode="json")
    return _flat({"recipe": {**recipe, "input": picture}, **facts, "classes": list(manifest.labels)})


def _flat(values: Mapping[str, Any], prefix: str = "") -> Settings:
    flat: Settings = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif key not in UNINTERESTING:
            flat[prefix + key] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return flat


def _complexity(prediction: Prediction) -> Complexity | None:
    """Complexity of the run's graph, or of the recipe's of an exported model; None if there is none."""
    if prediction.model is not None:
        return measure_complexity(prediction.model)
    if prediction.classifier is None:
        return None
    manifest = prediction.classifier.manifest
    try:
        recipe = find_recipe(manifest.training.recipe).change(input=manifest.input)
    except ConfigError:  # the recipe is of another version of this code, or there is none
        return None
    return measure_complexity(recipe.build(len(manifest.labels), weights=None))

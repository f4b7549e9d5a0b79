"""What several trained models do on the same faces, as values: figures, curves, settings, mistakes, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from train.evaluation.mcnemar import Duel, duel
from train.evaluation.metrics import Labels, seven_of
from train.evaluation.model_figures import Figures, compute_figures, subset_figures
from train.evaluation.operating_points import CurvePoint, adjust, choose_operating_points, operating_curve
from train.evaluation.predict import Prediction, with_own_names
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import CLASS_SETS

MISTAKES = 18
"""So many of the most confident mistakes are kept."""

UNINTERESTING = {"class_prior", "summary"}
"""Parts of a run's record that say nothing that another part does not say shorter."""

Settings = dict[str, str]


class Mistake(NamedTuple):
    """Row of the face among those that were measured, what it shows, what was said, with which probability."""

    row: int
    truth: str
    said: str
    confidence: float


@dataclass(frozen=True)
class Result:
    """One model on one split.

    ``point`` is the operating point of ``figures``; ``marked`` the named ones on the curve. ``right``: bool, one per
    face of the split; ``covered``: False where the face shows a class that the model does not know.
    """

    name: str
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
    """Several models on the faces of one split that are measured."""

    dataset: str
    protocol: str
    split: Split
    faces: Faces
    results: list[Result]

    @property
    def duels(self) -> list[Duel]:
        """Every pair of models."""
        return [_duel(a, b) for a, b in combinations(self.results, 2)]

    @property
    def differences(self) -> list[tuple[str, list[str | None]]]:
        """Settings in which models differ, None where one has no such setting; all settings of a single model."""
        keys = dict.fromkeys(key for result in self.results for key in result.settings)
        rows = [(key, [result.settings.get(key) for result in self.results]) for key in keys]
        return [(key, row) for key, row in rows if len(row) == 1 or len({value for value in row if value}) > 1]


def compare(predictions: Sequence[Prediction], data: DataSet, split: Split) -> Comparison:
    """Measure what the models said about the clear faces of ``split``, each on the faces whose class it knows.

    Raises DataError when a model knows none of them.
    """
    faces = data[split].majority()
    results = [_result(one, data.classes, faces, split) for one in with_own_names(predictions)]
    return Comparison(data.name, data.protocol, split, faces, results)


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
        shipped = adjust(logits, prior, points[point].prior_strength, points[point].temperature)
    right = np.zeros(len(faces), np.bool_)
    right[covered] = shipped.argmax(axis=1) == known
    seven = seven_of(prediction.classes) or None
    strengths = {key: value.prior_strength for key, value in points.items()}
    marks = operating_curve(logits, known, prior, list(strengths.values()), columns=seven) if prior is not None else []
    return Result(
        name=prediction.name,
        settings=_settings(prediction),
        point=point,
        figures=compute_figures(known, shipped, prediction.classes),
        subsets=_subsets(known, shipped, prediction.classes),
        curve=operating_curve(logits, known, prior, columns=seven) if prior is not None else [],
        marked=dict(zip(strengths, marks, strict=True)),
        history=prediction.run.history if prediction.run is not None else {},
        mistakes=_mistakes(known, shipped, prediction.classes, np.flatnonzero(covered)),
        size_bytes=prediction.size_bytes,
        complexity=_complexity(prediction),
        right=right,
        covered=covered,
    )


def _prior(prediction: Prediction) -> npt.NDArray[np.float64] | None:
    """The class prior of the training data, where it is known."""
    if prediction.classifier is not None:
        return np.array(prediction.classifier.manifest.calibration.class_prior)
    prior = prediction.run.record.get("class_prior") if prediction.run is not None else None
    return None if prior is None else np.array(prior, np.float64)


def _points(prediction: Prediction, truth: Labels, logits: Any, split: Split) -> Mapping[str, OperatingPoint]:
    """The operating points of an exported model; those that a run would get, when measured where they are chosen."""
    if prediction.classifier is not None:
        return prediction.classifier.manifest.calibration.operating_points
    prior = _prior(prediction)
    if prior is None or split != "validation":
        return {}
    return choose_operating_points(logits, truth, prior, prediction.classes)


def _subsets(truth: Labels, logits: Any, classes: Sequence[str]) -> dict[str, Figures]:
    """The smaller class sets that the model knows, by their number of classes."""
    return {
        key: subset_figures(truth, logits, classes, names)
        for key, names in CLASS_SETS.items()
        if set(names) < set(classes) and np.isin(truth, [classes.index(name) for name in names]).any()
    }


def _mistakes(
    truth: Labels, logits: npt.NDArray[np.float64], classes: Sequence[str], rows: npt.NDArray[np.int64]
) -> list[Mistake]:
    probabilities = softmax(logits)
    said, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != truth)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return [Mistake(int(rows[i]), classes[truth[i]], classes[said[i]], float(confidence[i])) for i in worst.tolist()]


def _duel(a: Result, b: Result) -> Duel:
    both = a.covered & b.covered
    return duel(a.name, a.right[both], b.name, b.right[both])


def _settings(prediction: Prediction) -> Settings:
    """What a run's record or a model's manifest says about how it was made, as dotted names and texts."""
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
    """Of the run's graph, or of the graph of the recipe that an exported model names; None where there is none."""
    if prediction.model is not None:
        return measure_complexity(prediction.model)
    if prediction.classifier is None:
        return None
    manifest = prediction.classifier.manifest
    try:
        recipe = find_recipe(manifest.training.recipe).change(input=manifest.input)
    except ConfigError:  # a recipe of another version of this code, or none
        return None
    return measure_complexity(recipe.build(len(manifest.labels), weights=None))

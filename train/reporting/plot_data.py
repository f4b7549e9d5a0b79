"""The numbers behind the plots of a report, as tables with one observation in each row."""

from __future__ import annotations

from collections.abc import Iterator

from train.evaluation.comparison import Result
from train.reporting.tables import Table

LEARNING = "loss", "accuracy", "val_loss", "val_accuracy", "val_balanced_accuracy"


def confusion_data(results: list[Result]) -> Table:
    """Faces by true and predicted class."""
    rows = [
        [one.name, truth, predicted, str(count)]
        for one in results
        for truth, counts in zip(one.figures.classes, one.figures.confusion, strict=True)
        for predicted, count in zip(one.figures.classes, counts, strict=True)
    ]
    return Table(["model", "true", "predicted", "faces"], rows)


def reliability_data(results: list[Result]) -> Table:
    """Accuracy and number of faces by confidence."""
    rows = [
        [one.name, _number(place.confidence), _number(place.accuracy), str(place.count)]
        for one in results
        for place in one.figures.reliability
    ]
    return Table(["model", "confidence", "accuracy", "faces"], rows)


def operating_data(results: list[Result]) -> Table:
    """Both accuracies by the strength of the prior adjustment."""
    rows = [
        [one.name, *(_number(value) for value in (point.strength, point.accuracy, point.balanced_accuracy))]
        for one in results
        for point in one.curve
    ]
    return Table(["model", "strength", "accuracy", "balanced_accuracy"], rows)


def learning_data(results: list[Result]) -> Table:
    """The history of each run by epoch, from 1."""
    return Table(["model", "epoch", *LEARNING], [row for one in results for row in _epochs(one)])


def _epochs(result: Result) -> Iterator[list[str]]:
    columns = [result.history.get(key, []) for key in LEARNING]
    for epoch in range(max(map(len, columns))):
        yield [result.name, str(epoch + 1), *(_number(values[epoch]) if values else "" for values in columns)]


def recall_data(results: list[Result]) -> Table:
    """Recall with its 95 % interval, precision and F1 by class; empty where undefined."""
    rows = [
        [one.name, name, str(each.n), *map(_number, (each.recall, *(each.interval or (None, None)))),
         *map(_number, (each.precision, each.f1))]
        for one in results
        for name, each in one.figures.per_class.items()
    ]  # fmt: skip
    return Table(["model", "class", "n", "recall", "low", "high", "precision", "f1"], rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

"""A comparison as headed tables and pictures: what a report says, whatever it is written in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from train.evaluation.comparison import Comparison, Result
from train.evaluation.metrics import Interval
from train.evaluation.model_figures import Figures
from train.reporting import plots

NOTHING = "–"  # noqa: RUF001 - a dash, for people


class Picture(NamedTuple):
    """A PNG: ``file`` is its name beside the page, ``title`` what it shows."""

    file: str
    title: str
    content: bytes


class Table(NamedTuple):
    """Cells of plain text, not escaped."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, and what belongs to it."""

    title: str
    text: str = ""
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()


def sections(comparison: Comparison, *, faces: bool = True) -> list[Section]:
    """The parts of a report that hold something, in reading order; without ``faces``, no face is in them."""
    parts = [
        _summary(comparison),
        _operating(comparison),
        _recall(comparison),
        _precision(comparison),
        _subsets(comparison),
        _duels(comparison),
        _settings(comparison),
        _learning(comparison),
        _confusion(comparison),
        _reliability(comparison),
    ]
    if faces:
        parts.append(_mistakes(comparison))
    return [part for part in parts if part.pictures or (part.table and part.table.rows)]


def _names(comparison: Comparison) -> list[str]:
    return [result.name for result in comparison.results]


def _summary(comparison: Comparison) -> Section:
    columns = [_figures_column(result) for result in comparison.results]
    rows = [[key, *(column[key] for column in columns)] for key in columns[0]]
    text = (
        f"{comparison.dataset}, protocol {comparison.protocol}, split {comparison.split}: "
        f"{len(comparison.faces)} faces. In brackets: 95 % intervals, by bootstrap over pictures."
    )
    return Section("Figures", text, Table(["", *_names(comparison)], rows))


def _figures_column(result: Result) -> dict[str, str]:
    figures, cost = result.figures, result.complexity
    seven = figures.balanced_accuracy_7, figures.balanced_accuracy_7_interval
    return {
        "faces (n)": str(figures.n),
        "operating point": result.point,
        "accuracy": _share(figures.accuracy, figures.accuracy_interval),
        "balanced accuracy": _share(figures.balanced_accuracy, figures.balanced_accuracy_interval),
        "balanced accuracy, 7 without contempt": _share(*seven),
        "macro-F1": _share(figures.macro_f1, figures.macro_f1_interval),
        "top-2 accuracy": _share(figures.top2, figures.top2_interval),
        "ECE": f"{figures.ece:.4f}",
        "NLL (nats)": f"{figures.nll:.4f}",
        "size on disk": f"{result.size_bytes / 1e6:.2f} MB",
        "parameters": f"{cost.parameters / 1e6:.2f} M" if cost else NOTHING,
        "multiply-accumulates per face": f"{cost.macs / 1e6:.1f} M" if cost and cost.macs is not None else NOTHING,
    }


def _operating(comparison: Comparison) -> Section:
    rows = [
        [result.name, name, f"{point.strength:g}", _share(point.accuracy), _share(point.balanced_accuracy)]
        for result in comparison.results
        for name, point in result.marked.items()
    ]
    curves = {result.name: result.curve for result in comparison.results if result.curve}
    if not curves:
        return Section("Operating curve")
    marked = {result.name: result.marked for result in comparison.results}
    picture = Picture("operating-curve.png", "Operating curves", plots.operating_curve_png(curves, marked))
    text = (
        "Strength times the log of the class prior is subtracted from the logits (Menon et al. 2021). "
        "Balanced accuracy here leaves out contempt when the classes are the eight."
    )
    header = ["model", "point", "strength", "accuracy", "balanced accuracy"]
    return Section("Operating curve", text, Table(header, rows), (picture,))


def _classes(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(name for result in comparison.results for name in result.figures.classes))


def _recall(comparison: Comparison) -> Section:
    first = comparison.results[0].figures
    rows = []
    for name in _classes(comparison):
        known = [result.figures.per_class.get(name) for result in comparison.results]
        base = first.per_class[name].recall if name in first.per_class else None
        cells = [_share(one.recall, one.interval) if one else NOTHING for one in known]
        cells[1:] = [
            f"{cell}; {100 * (one.recall - base):+.1f}" if one and one.recall is not None and base is not None else cell
            for cell, one in zip(cells[1:], known[1:], strict=True)
        ]
        rows.append([name, str(next(one.n for one in known if one)), *cells])
    models = {result.name: result.figures.per_class for result in comparison.results}
    picture = Picture("recall.png", "Recall per class", plots.recall_png(models))
    text = "95 % intervals by Wilson. From the second model on: the difference to the first, in points."
    return Section("Recall per class", text, Table(["class", "n", *_names(comparison)], rows), (picture,))


def _precision(comparison: Comparison) -> Section:
    rows = []
    for name in _classes(comparison):
        known = [result.figures.per_class.get(name) for result in comparison.results]
        rows.append([name, *(f"{_share(one.precision)} / {_share(one.f1)}" if one else NOTHING for one in known)])
    return Section("Precision / F1 per class", "", Table(["class", *_names(comparison)], rows))


def _subsets(comparison: Comparison) -> Section:
    rows = []
    for key in dict.fromkeys(key for result in comparison.results for key in result.subsets):
        known = [result.subsets.get(key) for result in comparison.results]
        names = ", ".join(next(one.classes for one in known if one))
        rows.append([f"{key}: {names}", *(_subset_cell(one) for one in known)])
    text = "The same models asked to tell only these apart, on the faces that show one of them. Accuracy."
    return Section("Class subsets", text, Table(["classes", *_names(comparison)], rows))


def _subset_cell(figures: Figures | None) -> str:
    return NOTHING if figures is None else f"{_share(figures.accuracy, figures.accuracy_interval)}, n {figures.n}"


def _duels(comparison: Comparison) -> Section:
    rows = [
        [duel.first, duel.second, str(duel.n), str(duel.only_first), str(duel.only_second), f"{duel.p:.2g}"]
        for duel in comparison.duels
    ]
    text = "p: how likely so unequal a share is if both are equally good (McNemar's exact test, two-sided)."
    header = ["first", "second", "faces", "only the first right", "only the second right", "p"]
    return Section("One against the other", text, Table(header, rows))


def _settings(comparison: Comparison) -> Section:
    rows = [[key, *(NOTHING if value is None else value for value in row)] for key, row in comparison.differences]
    title = "Settings" if len(comparison.results) == 1 else "Settings that differ"
    return Section(title, "", Table(["setting", *_names(comparison)], rows))


def _learning(comparison: Comparison) -> Section:
    histories = {result.name: result.history for result in comparison.results if result.history}
    if not histories:
        return Section("Learning curves")
    picture = Picture("learning-curves.png", "Learning curves", plots.learning_curves_png(histories))
    return Section("Learning curves", pictures=(picture,))


def _confusion(comparison: Comparison) -> Section:
    return Section(
        "Confusion",
        "Each cell: faces, and their share of the row.",
        pictures=tuple(
            Picture(f"confusion-{i}.png", f"Confusion matrix of {one.name}", plots.confusion_png(one.figures, one.name))
            for i, one in enumerate(comparison.results, 1)
        ),
    )


def _reliability(comparison: Comparison) -> Section:
    return Section(
        "Reliability",
        "Of the faces with a given confidence, how many are right; on the dashed line it can be taken at its word.",
        pictures=tuple(
            Picture(
                f"reliability-{i}.png",
                f"Reliability of {one.name}",
                plots.reliability_png(one.figures.reliability, f"{one.name}, ECE {one.figures.ece:.3f}"),
            )
            for i, one in enumerate(comparison.results, 1)
        ),
    )


def _mistakes(comparison: Comparison) -> Section:
    return Section(
        "Most confident mistakes",
        "Pictures of your own data set: mind who may see this page.",
        pictures=tuple(
            Picture(f"mistakes-{i}.png", f"Most confident mistakes of {one.name}", _mistakes_png(comparison, one))
            for i, one in enumerate(comparison.results, 1)
            if one.mistakes
        ),
    )


def _mistakes_png(comparison: Comparison, result: Result) -> bytes:
    rows = np.array([mistake.row for mistake in result.mistakes])
    captions = [f"{one.truth}\nsaid {one.said} {one.confidence:.0%}" for one in result.mistakes]
    return plots.faces_png(comparison.faces.images[rows], captions)


def _share(value: float | None, interval: Interval | None = None) -> str:
    """Per cent with its interval."""
    if value is None:
        return NOTHING
    return f"{value:.1%}" + (f" [{interval[0]:.1%}, {interval[1]:.1%}]" if interval else "")

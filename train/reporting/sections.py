"""Contents of a report, independent of its format: a comparison as sections with tables and pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from train.evaluation.comparison import Comparison, Result
from train.evaluation.metrics import Interval
from train.evaluation.model_figures import Figures
from train.reporting import plots
from train.reporting.plot_data import confusion_data, learning_data, operating_data, recall_data, reliability_data
from train.reporting.provenance import provenance
from train.reporting.tables import Table

NOTHING = "–"  # noqa: RUF001 - a dash, for people


class Picture(NamedTuple):
    """A plot; ``stem``: the name of its files without ending; ``title``: its description; ``data``: its numbers."""

    stem: str
    title: str
    plot: plots.Plot
    data: Table | None = None

    @property
    def file(self) -> str:
        """Name of the PNG beside the page."""
        return f"{self.stem}.png"


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph, a table and pictures."""

    title: str
    text: str = ""
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()

    @property
    def stem(self) -> str:
        """Name of the table's files without ending."""
        return "-".join(re.findall("[a-z0-9]+", self.title.lower()))


def sections(comparison: Comparison, *, faces: bool = True) -> list[Section]:
    """The non-empty sections of a report in reading order; without ``faces``, none of them shows a face."""
    parts = [
        _summary(comparison),
        Section("Origin of the figures", table=provenance(comparison)),
        _operating(comparison),
        _recall(comparison),
        _precision(comparison),
        _subsets(comparison),
        _mcnemar_tests(comparison),
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
    plot = plots.operating_curve_plot(curves, marked)
    picture = Picture("operating-curve", "Operating curves", plot, operating_data(comparison.results))
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
    picture = Picture("recall", "Recall per class", plots.recall_plot(models), recall_data(comparison.results))
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
    text = "Accuracy of the same models restricted to these classes, on the faces of these classes."
    return Section("Class subsets", text, Table(["classes", *_names(comparison)], rows))


def _subset_cell(figures: Figures | None) -> str:
    return NOTHING if figures is None else f"{_share(figures.accuracy, figures.accuracy_interval)}, n {figures.n}"


def _mcnemar_tests(comparison: Comparison) -> Section:
    rows = [
        [test.first, test.second, str(test.n), str(test.only_first), str(test.only_second), f"{test.p:.2g}"]
        for test in comparison.mcnemar_tests
    ]
    text = "p: probability of such unequal counts if both models are equally good (McNemar's exact test, two-sided)."
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
    plot, data = plots.learning_curves_plot(histories), learning_data(comparison.results)
    picture = Picture("learning-curves", "Learning curves", plot, data)
    return Section("Learning curves", pictures=(picture,))


def _confusion(comparison: Comparison) -> Section:
    plot = plots.confusion_plot({one.name: one.figures for one in comparison.results})
    picture = Picture("confusion", "Confusion matrices", plot, confusion_data(comparison.results))
    return Section("Confusion", "Each cell: faces, and their share of the row.", pictures=(picture,))


def _reliability(comparison: Comparison) -> Section:
    data = reliability_data(comparison.results)
    return Section(
        "Reliability",
        "Accuracy of the faces by their confidence; on the dashed line, confidence equals accuracy.",
        pictures=tuple(
            Picture(
                f"reliability-{i}",
                f"Reliability of {one.name}",
                plots.reliability_plot(one.figures.reliability, f"{one.name}, ECE {one.figures.ece:.3f}"),
                data if i == 1 else None,
            )
            for i, one in enumerate(comparison.results, 1)
        ),
    )


def _mistakes(comparison: Comparison) -> Section:
    return Section(
        "Most confident mistakes",
        "Pictures of your own data set: consider who may see this page.",
        pictures=tuple(
            Picture(f"mistakes-{i}", f"Most confident mistakes of {one.name}", _mistakes_plot(comparison, one))
            for i, one in enumerate(comparison.results, 1)
            if one.mistakes
        ),
    )


def _mistakes_plot(comparison: Comparison, result: Result) -> plots.Plot:
    rows = np.array([mistake.row for mistake in result.mistakes])
    captions = [f"{one.truth}\npredicted {one.predicted} {one.confidence:.0%}" for one in result.mistakes]
    return plots.faces_plot(comparison.faces.images[rows], captions)


def _share(value: float | None, interval: Interval | None = None) -> str:
    """Per cent, with the interval in brackets."""
    if value is None:
        return NOTHING
    return f"{value:.1%}" + (f" [{interval[0]:.1%}, {interval[1]:.1%}]" if interval else "")

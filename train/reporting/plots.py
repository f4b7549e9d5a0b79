"""Plots as PNG and SVG. Each function takes figures and returns the content of files; no screen is needed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure

from edge_emotion.cli.annotate import COLOURS, OTHER
from edge_emotion.labels import EMOTIONS
from train.evaluation.model_figures import Bin, ClassFigures, Figures
from train.evaluation.operating_points import CurvePoint

RUN_COLOURS = ("#1f4e79", "#d1700f", "#2f7f4f", "#8c3a8c", "#946b1f", "#4a4a4a", "#b03a5b", "#2a8c9c")
"""One colour per compared model, in their order; from the ninth on they repeat."""

DPI = 110
MATRICES = 3
"""Largest number of confusion matrices beside each other."""

LEGEND_FROM = 2
"""Series from which on a plot has a legend; the title describes a single one."""

History = Mapping[str, Sequence[float]]


class Plot(NamedTuple):
    """The content of a PNG and of an SVG file; without SVG for photographs."""

    png: bytes
    svg: bytes | None


def confusion_plot(models: Mapping[str, Figures]) -> Plot:
    """Confusion matrices side by side: rows truth, columns prediction; each cell its count and share of the row."""
    columns = min(len(models), MATRICES)
    rows = -(-len(models) // columns)
    size = max(len(figures.classes) for figures in models.values())
    figure = Figure((columns * (1.6 + 0.62 * size), rows * (1.2 + 0.56 * size)), layout="constrained")
    for place, (title, figures) in enumerate(models.items(), start=1):
        _draw_confusion(figure.add_subplot(rows, columns, place), figures, title)
    return plot_of(figure)


def _draw_confusion(axes: Any, figures: Figures, title: str) -> None:
    rates, size = figures.rates, len(figures.classes)
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=1)
    for row, counts in enumerate(figures.confusion):
        for column, count in enumerate(counts):
            ink = "white" if rates[row, column] > 0.55 else "black"
            text = f"{count}\n{rates[row, column]:.0%}" if count else "0"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=7)
    axes.set_xticks(range(size), figures.classes, rotation=45, ha="right")
    axes.set_yticks(range(size), [f"{name} ({figures.per_class[name].n})" for name in figures.classes])
    label_axes(axes, f"{title}\n{figures.n} faces", "predicted", "true")


def reliability_plot(bins: Sequence[Bin], title: str) -> Plot:
    """Reliability diagram: accuracy over confidence, and below it the number of faces in each bin."""
    figure = Figure((4.2, 4.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    confidence = [place.confidence for place in bins]
    upper.plot((0, 1), (0, 1), color="#999999", linewidth=1, linestyle="--", label="calibrated")
    upper.plot(confidence, [place.accuracy for place in bins], marker="o", color=RUN_COLOURS[0], label="measured")
    upper.set_ylim(0, 1.02)
    upper.legend(fontsize=8)
    lower.bar(confidence, [place.count for place in bins], width=0.06, color=RUN_COLOURS[0])
    lower.set_xlim(0, 1.02)
    label_axes(upper, title, "", "accuracy")
    label_axes(lower, "", "confidence", "faces")
    return plot_of(figure)


def learning_curves_plot(histories: Mapping[str, History]) -> Plot:
    """Loss and accuracy (dashed: training, solid: validation), and balanced accuracy, over the epochs of each run."""
    figure = Figure((9.0, 3.6))
    losses, scores = figure.subplots(1, 2)
    for place, (name, history) in enumerate(histories.items()):
        colour = _run_colour(place)
        for key, style in (("loss", "--"), ("val_loss", "-")):
            _curve(losses, history, key, style, colour, name if key == "val_loss" else None)
        for key, style in (("accuracy", "--"), ("val_accuracy", "-"), ("val_balanced_accuracy", ":")):
            _curve(scores, history, key, style, colour, name if key == "val_accuracy" else None)
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
    label_axes(losses, "loss: training dashed, validation solid", "epoch", "loss")
    label_axes(scores, "accuracy: training dashed, validation solid, balanced dotted", "epoch", "share")
    if len(histories) >= LEGEND_FROM:
        _legend_beside(scores)
    return plot_of(figure)


def operating_curve_plot(
    curves: Mapping[str, Sequence[CurvePoint]], marked: Mapping[str, Mapping[str, CurvePoint]]
) -> Plot:
    """Balanced accuracy over accuracy for growing prior adjustment; ``marked``: model -> name -> operating point."""
    figure = Figure((6.0, 4.4))
    axes = figure.add_subplot()
    markers = dict(
        zip(dict.fromkeys(label for points in marked.values() for label in points), cycle("Ds^v"), strict=False)
    )
    for place, (name, curve) in enumerate(curves.items()):
        colour = _run_colour(place)
        accuracies, balanced = [p.accuracy for p in curve], [p.balanced_accuracy for p in curve]
        axes.plot(accuracies, balanced, marker=".", color=colour, label=_plain(name), linewidth=1)
        for label, point in marked.get(name, {}).items():
            axes.plot(point.accuracy, point.balanced_accuracy, marker=markers[label], markersize=7, color=colour)
    for label, marker in markers.items():
        axes.plot([], [], linestyle="", marker=marker, color="grey", label=_plain(label))
    label_axes(axes, "operating curve: strength of the prior adjustment", "accuracy", "balanced accuracy")
    if len(curves) >= LEGEND_FROM or markers:
        _legend_beside(axes)
    return plot_of(figure)


def recall_plot(models: Mapping[str, Mapping[str, ClassFigures]]) -> Plot:
    """Recall of each class with its 95 % interval, the models side by side within each class."""
    names = [name for name in EMOTIONS if any(name in classes for classes in models.values())]
    figure = Figure((1.5 + 1.05 * len(names), 3.8))
    axes = figure.add_subplot()
    width = 0.8 / len(models)
    for place, (model, classes) in enumerate(models.items()):
        for column, name in enumerate(names):
            _bar(axes, classes.get(name), column + (place + 0.5) * width - 0.4, width, place, COLOURS.get(name, OTHER))
        axes.bar(0, 0, color="#bbbbbb", edgecolor="black", hatch=_hatch(place), label=_plain(model))
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_ylim(0, 1.02)
    label_axes(axes, "recall per class, with 95 % intervals", "", "recall")
    if len(models) >= LEGEND_FROM:
        _legend_beside(axes)
    return plot_of(figure)


def faces_plot(images: npt.NDArray[np.uint8], captions: Sequence[str], columns: int = 6) -> Plot:
    """A grid of face crops, each with a caption. images: N x h x w (grey) or N x h x w x 3 (BGR), N > 0."""
    rows = -(-len(images) // columns)
    figure = Figure((1.7 * min(columns, len(images)), 2.1 * rows))
    for place, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = figure.add_subplot(rows, min(columns, len(images)), place + 1)
        axes.imshow(image if image.ndim == 2 else image[..., ::-1], cmap="gray", vmin=0, vmax=255)
        axes.set_title(caption, fontsize=7, parse_math=False)
        axes.set_axis_off()
    return Plot(figure_png(figure), None)


def _bar(axes: Any, figures: ClassFigures | None, x: float, width: float, place: int, colour: str) -> None:
    if figures is None or figures.recall is None or figures.interval is None:
        return
    low, high = figures.interval
    reach = [[max(figures.recall - low, 0.0)], [max(high - figures.recall, 0.0)]]
    axes.bar(x, figures.recall, width, color=colour, edgecolor="black", linewidth=0.5, hatch=_hatch(place))
    axes.errorbar(x, figures.recall, yerr=reach, color="black", linewidth=0.8, capsize=2)


def _hatch(place: int) -> str:
    """Hatch pattern of a model, since the colour is that of the emotion."""
    return ("", "///", "...", "xxx", "\\\\\\", "+++")[place % 6]


def _plain(name: str) -> str:
    """Escaped for legends, which parse text between dollars as a formula and hide names with a leading underscore."""
    return name.replace("$", r"\$").replace("_", "\u200b_", 1) if name.startswith("_") else name.replace("$", r"\$")


def _run_colour(place: int) -> str:
    return RUN_COLOURS[place % len(RUN_COLOURS)]


def _curve(axes: Any, history: History, key: str, style: str, colour: str, name: str | None) -> None:
    values = history.get(key, ())
    if values:
        axes.plot(range(1, len(values) + 1), values, style, color=colour, label=name and _plain(name), linewidth=1.3)


def label_axes(axes: Any, title: str, x: str, y: str) -> None:
    """Set title and axis labels, in the font sizes of every plot; the title is not parsed as a formula."""
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)


def _legend_beside(axes: Any) -> None:
    """A legend to the right of the axes, where it covers nothing."""
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)


def plot_of(figure: Figure) -> Plot:
    """A figure as PNG and SVG, without dates and random names, so that equal figures give equal files."""
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "edge-emotion"}):
        figure.savefig(content, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return Plot(figure_png(figure), content.getvalue())


def figure_png(figure: Figure) -> bytes:
    """The content of a PNG file without date and version, so that equal figures give equal files."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return content.getvalue()

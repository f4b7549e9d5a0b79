"""Diagrams of robustness, as the content of PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from train.reporting.plots import RUN_COLOURS, figure_png, label_axes

COLUMNS = 5
GREY = "#555555"


def robustness_png(measured: Mapping[str, Any]) -> bytes:
    """One diagram per corruption over severity 0 (clean) to 5: detection dashed, accuracy of the faces found full."""
    clean, names = measured["steps"][0], list(measured["units"])
    models, rows = list(clean["models"]), -(-len(names) // COLUMNS)
    figure = Figure((2.9 * min(COLUMNS, len(names)), 2.6 * rows))
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, min(COLUMNS, len(names)), place + 1)
        steps = [clean, *(step for step in measured["steps"] if step["corruption"] == name)]
        _curve(axes, [step["detection"] for step in steps], GREY, "--", "found")
        for index, model in enumerate(models):
            shares = [step["models"][model]["accuracy"] for step in steps]
            _curve(axes, shares, RUN_COLOURS[index % len(RUN_COLOURS)], "-", model)
        axes.set_ylim(0, 1.02)
        label_axes(axes, name, measured["units"][name], "")
        axes.set_xticks(range(6), ["-", *(f"{step['value']:g}" for step in steps[1:])])
        if place == 0:
            axes.legend(fontsize=6, loc="lower left")
    figure.tight_layout()
    return figure_png(figure)


def _curve(axes: Any, shares: list[dict[str, Any]], colour: str, style: str, name: str) -> None:
    """A share with its 95 % interval; a gap where nothing was measured."""
    there = [(severity, one) for severity, one in enumerate(shares) if one["share"] is not None]
    severities, values = [severity for severity, _ in there], [one["share"] for _, one in there]
    low, high = ([one["interval"][side] for _, one in there] for side in (0, 1))
    axes.plot(severities, values, style, color=colour, marker=".", linewidth=1.2, label=name)
    axes.fill_between(severities, low, high, color=colour, alpha=0.12, linewidth=0)

"""A result as text, Markdown and a picture. Rows are subjects, columns are metrics."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from benchmarks.results.machine import machine_line
from benchmarks.results.results import Measurement, Result, significant
from edge_emotion.errors import BackendUnavailable, ConfigError
from edge_emotion.system.atomic_file import write_bytes, write_text

WIDTH = 120
"""Columns of text; a wider table goes on below."""
MANY = 5
"""Subjects with the same n that are named one by one; of more, only their number is said."""
CROWD = 20
"""Subjects in one diagram from which on bars are no longer read."""


def as_text(result: Result) -> str:
    """Tables for a terminal, with everything that belongs to the figures."""
    header, rows = table(result)
    return "\n".join([*_head(result), *_columns(header, rows), *_notes(result)])


def as_markdown(result: Result) -> str:
    """The same as Markdown."""
    header, rows = table(result)
    lines = [f"# {result.benchmark}", "", *(f"{line}  " for line in _head(result)), ""]
    lines += [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(result))]).rstrip() + "\n"


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Header and rows; a unit stands in the header where the whole column shares it."""
    units = {metric: {one.unit for one in result.measurements if one.metric == metric} for metric in result.metrics}
    header = [f"{metric} {min(unit)}".rstrip() if len(unit) == 1 else metric for metric, unit in units.items()]
    rows = []
    for subject in result.subjects:
        usual = _stated(result, subject).n
        found = ((result.find(subject, metric), len(units[metric]) > 1) for metric in result.metrics)
        rows.append([subject, *("" if one is None else _cell(one, with_unit, usual) for one, with_unit in found)])
    return [result.benchmark, *header], rows


def write_plot(path: Path, result: Result) -> None:
    """A PNG: of robustness its curves, else for each metric that has a direction one bar for each subject.

    Whiskers are the 95 % interval where there is one, else they reach from the least run to the most. Where bars would
    be too many they are dots. Raises OSError, ConfigError if nothing was measured, BackendUnavailable without
    matplotlib.
    """
    check_plotting()
    write_bytes(path, _curves(result) or _panels(result))


def _curves(result: Result) -> bytes | None:
    """Those of robustness; None for every other benchmark."""
    if result.benchmark != "robustness" or "steps" not in result.details:
        return None
    from benchmarks.results.plots import robustness_png

    return robustness_png(result.details)


def _panels(result: Result) -> bytes:
    panels: dict[tuple[str, str], list[Measurement]] = {}
    for one in result.measurements:
        panels.setdefault((one.metric, one.unit), []).append(one)
    panels = {name: panel for name, panel in panels.items() if any(one.better for one in panel)}
    if not panels:
        raise ConfigError(f"{result.benchmark} on {result.machine.machine} holds nothing to draw: {result.status}")
    sizes = [0.7 + (0.28 if len(panel) <= CROWD else 0.15) * len(panel) for panel in panels.values()]
    figure = _figure_class()(figsize=(9, 0.6 + sum(sizes)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for axis, panel in zip(axes, panels.values(), strict=True):
        _bars(axis, panel)
    figure.suptitle(f"{result.benchmark}: {result.machine.machine}, {result.machine.processor}", fontsize=9)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def check_plotting() -> None:
    """Raises BackendUnavailable if no picture could be drawn, before an hour has gone into its figures."""
    _figure_class()


def write_markdown(path: Path, result: Result) -> None:
    """As a file. Raises OSError."""
    write_text(path, as_markdown(result))


def _bars(axis: Any, measurements: list[Measurement]) -> None:
    names, values = [one.subject for one in measurements], [one.value for one in measurements]
    crowded = len(names) > CROWD
    if crowded:
        axis.errorbar(values, names, xerr=whiskers(measurements), fmt="o", color="#4c72b0", markersize=3, capsize=2)
        axis.grid(axis="x", linewidth=0.4)
        axis.margins(y=0.01)
    else:
        axis.barh(names, values, xerr=whiskers(measurements), color="#4c72b0", capsize=3)
    first = measurements[0]
    axis.set_title(f"{first.metric} [{first.unit}], {first.better} is better", fontsize=8)
    axis.invert_yaxis()
    axis.tick_params(labelsize=5 if crowded else 7)


def whiskers(measurements: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """How far each reaches below and above its value: to its interval, else to its least and most run."""
    ranges = [(one.value, one.interval or (min(one.runs), max(one.runs))) for one in measurements]
    return [max(value - low, 0) for value, (low, _) in ranges], [max(high - value, 0) for value, (_, high) in ranges]


def _head(result: Result) -> list[str]:
    if result.status != "measured":
        return [f"{result.machine.machine}: {result.status}"]
    settings = ", ".join(f"{name} {_plain(value)}" for name, value in result.settings.items())
    return [machine_line(result.machine.model_dump()), f"{result.benchmark}: {settings}, {result.measured_at}"]


def _plain(value: JsonValue) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _notes(result: Result) -> list[str]:
    notes = []
    if any(one.spread is not None for one in result.measurements):
        notes.append("Medians of the runs, each a process of its own; ± is half the range between the runs.")
    if any(one.interval is not None for one in result.measurements):
        notes.append("In brackets: 95 % intervals.")
    notes += _counts(result)
    notes += [f"not measured: {name}: {why}" for name, why in result.absent.items()]
    return [*notes, *result.notes, *result.machine.cautions]


def _counts(result: Result) -> list[str]:
    """How many observations stand behind each subject; those with as many share a line."""
    alike: dict[str, list[str]] = {}
    for subject in result.subjects:
        stated = _stated(result, subject)
        if stated.subject != subject:
            continue
        if stated.n > 1 or subject in result.invalid:
            validity = "" if result.benchmark != "latency" else f"{_validity(result, subject)}, "
            runs = "" if len(stated.runs) == 1 else f"{len(stated.runs)} x "
            alike.setdefault(f"{validity}n = {runs}{stated.n:,}", []).append(subject)
    crowd = max(alike, key=lambda count: len(alike[count]), default="")
    if len(alike) == 1 and len(alike[crowd]) > 1:
        return [f"each: {crowd}"]
    many = {crowd: f"{len(alike[crowd])} others"} if crowd and len(alike[crowd]) > MANY else {}
    lines = [f"{'; '.join(some)}: {count}" for count, some in alike.items() if count not in many]
    return [*lines, *(f"{name}: {count}" for count, name in many.items())]


def _stated(result: Result, subject: str) -> Measurement:
    """The measurement whose n is said for the whole subject: its first; of a stage, that of what it is a stage of."""
    whole, colon, _ = subject.partition(": ")
    known = whole if colon and whole in result.subjects else subject
    return next(one for one in result.measurements if one.subject == known)


def _validity(result: Result, subject: str) -> str:
    return f"INVALID ({result.invalid[subject]})" if subject in result.invalid else "VALID"


def _cell(one: Measurement, with_unit: bool, usual: int) -> str:
    """Value and doubt; n, too, where it is not the ``usual`` one of its row and there is more than one observation."""
    doubt = "" if one.spread is None else f" ±{100 * one.spread:.0f}%"
    if one.interval is not None:
        doubt = f" ({' to '.join(map(significant, one.interval))})"
    count = f" n={one.n:,}" if one.n not in (1, usual) else ""
    return significant(one.value) + (f" {one.unit}".rstrip() if with_unit else "") + doubt + count


def _columns(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in (header, *rows)) for n in range(len(header))]
    lines, start = [], 1
    while start < len(header):
        end = start + 1
        while end < len(header) and widths[0] + sum(width + 2 for width in widths[start : end + 1]) <= WIDTH:
            end += 1
        for name, *cells in ([row[0], *row[start:end]] for row in (header, *rows)):
            if any(cells):
                columns = (f"{cell:>{width + 2}}" for cell, width in zip(cells, widths[start:end], strict=True))
                lines.append(f"{name:{widths[0]}}" + "".join(columns))
        start = end
    return lines


def _figure_class() -> Any:
    try:
        return importlib.import_module("matplotlib.figure").Figure  # draws without a display
    except ImportError as error:
        raise BackendUnavailable("to draw plots: pip install matplotlib") from error

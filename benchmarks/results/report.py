"""A result as text, as Markdown and as a picture. Rows are subjects, columns are metrics."""

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
"""Characters per line of text; further columns of a wider table follow below."""
MANY = 5
"""Subjects with the same n that are listed by name at most; of more, only the number is given."""
CROWD = 20
"""Subjects in one plot from which on dots replace bars."""


def result_text(result: Result) -> str:
    """A result as tables for a terminal, with its machine, settings and notes."""
    header, rows = table(result)
    return "\n".join([*_head(result), *_columns(header, rows), *_notes(result)])


def result_markdown(result: Result) -> str:
    """A result as Markdown, with its machine, settings and notes."""
    header, rows = table(result)
    lines = [f"# {result.benchmark}", "", *(f"{line}  " for line in _head(result)), ""]
    lines += [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join([*lines, "", *(f"- {note}" for note in _notes(result))]).rstrip() + "\n"


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a result's table; a unit shared by a whole column is in the header."""
    units = {metric: {one.unit for one in result.measurements if one.metric == metric} for metric in result.metrics}
    header = [f"{metric} {min(unit)}".rstrip() if len(unit) == 1 else metric for metric, unit in units.items()]
    rows = []
    for subject in result.subjects:
        usual = _stated(result, subject).n
        found = ((result.find(subject, metric), len(units[metric]) > 1) for metric in result.metrics)
        rows.append([subject, *("" if one is None else _cell(one, with_unit, usual) for one, with_unit in found)])
    return [result.benchmark, *header], rows


def write_plot(path: Path, result: Result) -> None:
    """Draw a result as PNG: the curves of robustness, else one panel per metric with a direction, one bar per subject.

    Whiskers are 95 % intervals, or the range of the runs. More than CROWD subjects are drawn as dots. Raises OSError,
    ConfigError if nothing was measured, BackendUnavailable without matplotlib.
    """
    check_plotting()
    write_bytes(path, _curves(result) or _panels(result))


def _curves(result: Result) -> bytes | None:
    """The curves of robustness; None for other benchmarks."""
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
    """Raises BackendUnavailable without matplotlib; called before a long measurement."""
    _figure_class()


def write_markdown(path: Path, result: Result) -> None:
    """Write a result as Markdown. Raises OSError."""
    write_text(path, result_markdown(result))


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
    """Length of each whisker below and above its value: to the 95 % interval, else to the range of the runs."""
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
    """Number of observations of each subject; subjects with the same number share a line."""
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
    """The measurement whose n is stated for a subject: its first one; for a stage, that of the whole subject."""
    whole, colon, _ = subject.partition(": ")
    known = whole if colon and whole in result.subjects else subject
    return next(one for one in result.measurements if one.subject == known)


def _validity(result: Result, subject: str) -> str:
    return f"INVALID ({result.invalid[subject]})" if subject in result.invalid else "VALID"


def _cell(one: Measurement, with_unit: bool, usual: int) -> str:
    """Value and uncertainty; also n where it differs from the ``usual`` one of its row and is above 1."""
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
        return importlib.import_module("matplotlib.figure").Figure  # needs no display
    except ImportError as error:
        raise BackendUnavailable("to draw plots: pip install matplotlib") from error

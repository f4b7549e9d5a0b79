"""A result as text, Markdown and a picture. Rows are subjects, columns are metrics."""

from __future__ import annotations

import importlib
from io import BytesIO
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_line
from benchmarks.results import Measurement, Result, significant
from edge_emotion.errors import BackendUnavailable, ConfigError
from edge_emotion.manifest import write_bytes, write_text

WIDTH = 120
"""Columns of text; a wider table goes on below."""


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
    rows = [
        [subject, *(_cell(result.find(subject, metric), len(units[metric]) > 1) for metric in result.metrics)]
        for subject in result.subjects
    ]
    return [result.benchmark, *header], rows


def write_plot(path: Path, result: Result) -> None:
    """A PNG: for each metric that has a direction, one bar for each subject.

    Whiskers are the 95 % interval where there is one, else they reach from the least run to the most.
    Raises OSError, ConfigError if nothing was measured, BackendUnavailable without matplotlib.
    """
    figure_class = _figure_class()
    panels: dict[tuple[str, str], list[Measurement]] = {}
    for one in result.measurements:
        panels.setdefault((one.metric, one.unit), []).append(one)
    panels = {name: panel for name, panel in panels.items() if any(one.better for one in panel)}
    if not panels:
        raise ConfigError(f"{result.benchmark} on {result.machine.machine} holds nothing to draw: {result.status}")
    sizes = [0.7 + 0.28 * len(panel) for panel in panels.values()]
    figure = figure_class(figsize=(9, 0.6 + sum(sizes)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=sizes)[:, 0]
    for axis, panel in zip(axes, panels.values(), strict=True):
        _bars(axis, panel)
    figure.suptitle(f"{result.benchmark}: {result.machine.machine}, {result.machine.processor}", fontsize=9)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_bytes(path, picture.getvalue())


def check_plotting() -> None:
    """Raises BackendUnavailable if no picture could be drawn, before an hour has gone into its figures."""
    _figure_class()


def write_markdown(path: Path, result: Result) -> None:
    """As a file. Raises OSError."""
    write_text(path, as_markdown(result))


def _bars(axis: Any, measurements: list[Measurement]) -> None:
    values = [one.value for one in measurements]
    ranges = [one.interval or (min(one.runs), max(one.runs)) for one in measurements]
    below = [max(value - low, 0) for value, (low, _) in zip(values, ranges, strict=True)]
    above = [max(high - value, 0) for value, (_, high) in zip(values, ranges, strict=True)]
    axis.barh([one.subject for one in measurements], values, xerr=[below, above], color="#4c72b0", capsize=3)
    first = measurements[0]
    axis.set_title(f"{first.metric} [{first.unit}], {first.better} is better", fontsize=8)
    axis.invert_yaxis()
    axis.tick_params(labelsize=7)


def _head(result: Result) -> list[str]:
    if result.status != "measured":
        return [f"{result.machine.machine}: {result.status}"]
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.items())
    return [machine_line(result.machine.model_dump()), f"{result.benchmark}: {settings}, {result.measured_at}"]


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
    """How many observations stand behind each subject; once for all where they are as many."""
    counts: dict[str, str] = {}
    for subject in result.subjects:
        whole, colon, _ = subject.partition(": ")
        if colon and whole in result.subjects:
            continue  # a stage of it, as often
        first = next(one for one in result.measurements if one.subject == subject)
        if first.n > 1 or subject in result.invalid:
            validity = "" if result.benchmark != "latency" else f"{_validity(result, subject)}, "
            runs = "" if len(first.runs) == 1 else f"{len(first.runs)} x "
            counts[subject] = f"{validity}n = {runs}{first.n:,}"
    if len(counts) > 1 and len(set(counts.values())) == 1:
        return [f"each: {next(iter(counts.values()))}"]
    return [f"{subject}: {count}" for subject, count in counts.items()]


def _validity(result: Result, subject: str) -> str:
    return f"INVALID ({result.invalid[subject]})" if subject in result.invalid else "VALID"


def _cell(one: Measurement | None, with_unit: bool) -> str:
    if one is None:
        return ""
    doubt = "" if one.spread is None else f" ±{100 * one.spread:.0f}%"
    if one.interval is not None:
        doubt = f" ({' to '.join(map(significant, one.interval))})"
    return significant(one.value) + (f" {one.unit}".rstrip() if with_unit else "") + doubt


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

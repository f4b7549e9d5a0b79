"""Command ``python -m train report``: runs and exported models side by side, as HTML and Markdown."""

from __future__ import annotations

import argparse
import base64
import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_emotion.system.atomic_file import write_bytes, write_text
from train.commands.data_options import add_data_options, read_data
from train.reporting.image_output import ready_folder
from train.reporting.tables import Table, csv_text, latex_text

if TYPE_CHECKING:
    from train.evaluation.comparison import Comparison
    from train.reporting.sections import Section

TITLE = "Comparison of emotion models"
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top }
th { background: #f3f3f3 }
td:not(:first-child) { font-variant-numeric: tabular-nums }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; vertical-align: top }
img { max-width: 100% }
"""


def add_report(commands: Any) -> None:
    """Add ``report`` to the subparsers of the command line."""
    parser = commands.add_parser("report", help="compare runs and exported models on one page (HTML and Markdown)")
    parser.add_argument(
        "targets", type=Path, nargs="+", metavar="TARGET", help="run directory, model folder or shipped model"
    )
    add_data_options(parser, split="validation", detect=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for report.html, report.md and their pictures")
    parser.add_argument("--ensemble", action="store_true", help="also the mean of the targets' probabilities")
    parser.add_argument("--no-faces", action="store_true", help="leave out the pictures of misclassified faces")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> None:
    from train.evaluation.comparison import compare_models
    from train.evaluation.evaluate import mean_of
    from train.evaluation.predict import input_of, logits_of_target, with_own_names

    ready_folder(options.out)
    data = read_data(options, [input_of(target) for target in options.targets])
    faces = data[options.split].majority()
    predictions = []
    for target in options.targets:
        print(f"{target}: {len(faces)} faces", flush=True)
        predictions.append(logits_of_target(target, faces))
    if options.ensemble:
        predictions = with_own_names(predictions)
        predictions.append(mean_of(predictions))
    page = write_report(compare_models(predictions, data, options.split), options.out, faces=not options.no_faces)
    print(f"written: {page}")


def write_report(comparison: Comparison, out: Path, *, faces: bool = True) -> Path:
    """Write report.html (self-contained), report.md with its PNG files, and the figures as report.json.

    The folder ``svg`` gets the plots as SVG, ``tables`` each table as CSV and LaTeX, and the numbers of each plot as
    CSV. ``faces``: include pictures of misclassified faces. Returns the path of the HTML page.
    Raises ConfigError if the folder cannot be made, OSError if a file cannot be written.
    """
    from train.reporting.sections import sections

    ready_folder(out)
    parts = sections(comparison, faces=faces)
    for picture in (picture for part in parts for picture in part.pictures):
        write_bytes(out / picture.file, picture.plot.png)
    _write_for_papers(parts, out)
    write_text(out / "report.json", json.dumps(report_json(comparison), indent=2))
    write_text(out / "report.md", report_markdown(parts))
    page = out / "report.html"
    write_text(page, report_html(parts))
    return page


def _write_for_papers(parts: Sequence[Section], out: Path) -> None:
    """Write plots as SVG, and tables and the numbers of plots as text."""
    svg, tables = ready_folder(out / "svg"), ready_folder(out / "tables")
    for part in parts:
        if part.table and part.table.rows:
            write_text(tables / f"{part.stem}.csv", csv_text(part.table))
            write_text(tables / f"{part.stem}.tex", latex_text(part.table))
        for picture in part.pictures:
            if picture.plot.svg is not None:
                write_bytes(svg / f"{picture.stem}.svg", picture.plot.svg)
            if picture.data is not None:
                write_text(tables / f"plot-{picture.stem}.csv", csv_text(picture.data))


def report_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON values, without pictures."""
    from train.reporting.provenance import provenance

    return {
        "dataset": comparison.dataset,
        "protocol": comparison.protocol,
        "split": comparison.split,
        "fingerprint": comparison.fingerprint,
        "origin": dict(provenance(comparison).rows),
        "models": {
            result.name: {
                "operating_point": result.point,
                "figures": result.figures.model_dump(mode="json"),
                "subsets": {key: figures.model_dump(mode="json") for key, figures in result.subsets.items()},
                "operating_curve": [point._asdict() for point in result.curve],
                "operating_points": {name: point._asdict() for name, point in result.marked.items()},
                "size_bytes": result.size_bytes,
                "complexity": result.complexity and result.complexity._asdict(),
                "settings": result.settings,
            }
            for result in comparison.results
        },
        "duels": [test._asdict() for test in comparison.mcnemar_tests],
    }


def report_html(parts: Sequence[Section]) -> str:
    """A report as one HTML page without external files."""
    body = "\n".join(_html_section(part) for part in parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{TITLE}</h1>\n{body}\n</body>\n</html>\n"
    )


def _html_section(part: Section) -> str:
    lines = [f"<h2>{html.escape(part.title)}</h2>"]
    if part.text:
        lines.append(f"<p>{html.escape(part.text)}</p>")
    if part.table and part.table.rows:
        lines.append(_html_table(part.table))
    for picture in part.pictures:
        source = "data:image/png;base64," + base64.b64encode(picture.plot.png).decode()
        lines.append(f'<figure><img src="{source}" alt="{html.escape(picture.title)}"></figure>')
    return "\n".join(lines)


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "\n".join(["<table>", row(table.header, "th"), *(row(cells, "td") for cells in table.rows), "</table>"])


def report_markdown(parts: Sequence[Section]) -> str:
    """A report as one Markdown page, which refers to the PNG files beside it."""
    return "\n\n".join([f"# {TITLE}", *(_markdown_section(part) for part in parts)]) + "\n"


def _markdown_section(part: Section) -> str:
    blocks = [f"## {_plain(part.title)}"]
    if part.text:
        blocks.append(_plain(part.text))
    if part.table and part.table.rows:
        rows = [part.table.header, ["---"] * len(part.table.header), *part.table.rows]
        blocks.append("\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows))
    blocks += [f"![{_plain(picture.title)}]({picture.file})" for picture in part.pictures]
    return "\n\n".join(blocks)


def _cell(text: str) -> str:
    return text if text == "---" else _plain(text)


def _plain(text: str) -> str:
    """Text escaped for Markdown: no markup, no HTML, on one line."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))

"""``python -m train report``: runs and exported models side by side, as an HTML page and a Markdown page."""

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

if TYPE_CHECKING:
    from train.evaluation.comparison import Comparison
    from train.reporting.sections import Section, Table

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
    parser.add_argument("--no-faces", action="store_true", help="leave out the pictures of mistaken faces")
    parser.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> None:
    from train.evaluation.comparison import compare
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
    page = write_report(compare(predictions, data, options.split), options.out, faces=not options.no_faces)
    print(f"written: {page}")


def write_report(comparison: Comparison, out: Path, *, faces: bool = True) -> Path:
    """Write report.html (self-contained), report.md with its PNG files, and the figures as report.json.

    ``faces``: whether pictures of mistaken faces are in it. Returns the path of the HTML page.
    Raises ConfigError when the folder cannot be made, OSError when a file cannot be written.
    """
    from train.reporting.sections import sections

    ready_folder(out)
    parts = sections(comparison, faces=faces)
    for part in parts:
        for picture in part.pictures:
            write_bytes(out / picture.file, picture.content)
    write_text(out / "report.json", json.dumps(as_json(comparison), indent=2))
    write_text(out / "report.md", as_markdown(parts))
    page = out / "report.html"
    write_text(page, as_html(parts))
    return page


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values, without pictures."""
    return {
        "dataset": comparison.dataset,
        "protocol": comparison.protocol,
        "split": comparison.split,
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
        "duels": [duel._asdict() for duel in comparison.duels],
    }


def as_html(parts: Sequence[Section]) -> str:
    """One page that needs no other file and no network."""
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
        source = "data:image/png;base64," + base64.b64encode(picture.content).decode()
        lines.append(f'<figure><img src="{source}" alt="{html.escape(picture.title)}"></figure>')
    return "\n".join(lines)


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "\n".join(["<table>", row(table.header, "th"), *(row(cells, "td") for cells in table.rows), "</table>"])


def as_markdown(parts: Sequence[Section]) -> str:
    """One page that shows the PNG files beside it."""
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
    """Text that Markdown shows as it is: no markup, no HTML, no second line."""
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))

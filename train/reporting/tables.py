"""Tables of a report as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from typing import NamedTuple

LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u2013": "--",
}  # fmt: skip
"""Character -> LaTeX, for what LaTeX would read as a command."""


class Table(NamedTuple):
    """A table with cells of plain text, not escaped."""

    header: list[str]
    rows: list[list[str]]


def csv_text(table: Table) -> str:
    """A table as CSV with a header (RFC 4180, lines end with a line feed)."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue()


def latex_text(table: Table) -> str:
    """A table as a LaTeX tabular that needs no packages; the first column is left, the others are right."""
    columns = "l" + "r" * (len(table.header) - 1)
    lines = [_latex_row(table.header), r"\hline", *map(_latex_row, table.rows)]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *lines, r"\end{tabular}", ""])


def _latex_row(cells: list[str]) -> str:
    return " & ".join("".join(LATEX.get(letter, letter) for letter in cell) for cell in cells) + r" \\"

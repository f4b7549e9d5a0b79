"""Outputs of every benchmark: a table on the terminal, and the files asked for on the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.results.report import check_plotting, result_text, write_markdown, write_plot
from benchmarks.results.results import Result, write_result
from edge_emotion.errors import ConfigError

WRITERS = {"json": write_result, "markdown": write_markdown, "plot": write_plot}


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``, ``--markdown`` and ``--plot``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result to FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to FILE as Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the result to FILE.png (needs matplotlib)")


def check_outputs(options: argparse.Namespace) -> None:
    """Check the outputs before anything is measured.

    Raises ConfigError for a folder that is missing or not writable, BackendUnavailable for a plot without matplotlib.
    """
    for name in WRITERS:
        path: Path | None = getattr(options, name)
        if path is None:
            continue
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"--{name} {path}: " + ("is a folder" if path.is_dir() else "there is no such folder"))
        if not os.access(path.parent, os.W_OK | os.X_OK):  # a temporary file is written there, then renamed
            raise ConfigError(f"--{name} {path}: its folder may not be written")
    if options.plot is not None:
        check_plotting()


def put_out(options: argparse.Namespace, result: Result, draw: Callable[[], None] | None = None) -> None:
    """Write the result's files, call ``draw`` for further ones, then print the result. Raises OSError.

    The result is printed even if writing or drawing fails, and written even if the terminal's reader has gone.
    """
    try:
        for name, write in WRITERS.items():
            path: Path | None = getattr(options, name)
            if path is not None:
                write(path, result)
        if draw is not None:
            draw()
    finally:
        print(result_text(result))

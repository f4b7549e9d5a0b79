"""What every benchmark does with its result: a table on the terminal, and the files that were asked for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.results.report import as_text, check_plotting, write_markdown, write_plot
from benchmarks.results.results import Result, write_result
from edge_emotion.errors import ConfigError

WRITERS = {"json": write_result, "markdown": write_markdown, "plot": write_plot}


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """``--json``, ``--markdown``, ``--plot``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there as Markdown")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw it there (needs matplotlib)")


def check_outputs(options: argparse.Namespace) -> None:
    """Before anything is measured.

    Raises ConfigError for a folder that is not there or may not be written, BackendUnavailable for a plot
    without matplotlib.
    """
    for name in WRITERS:
        path: Path | None = getattr(options, name)
        if path is None:
            continue
        if path.is_dir() or not path.parent.is_dir():
            raise ConfigError(f"--{name} {path}: " + ("is a folder" if path.is_dir() else "there is no such folder"))
        if not os.access(path.parent, os.W_OK | os.X_OK):  # it is written beside, then renamed
            raise ConfigError(f"--{name} {path}: its folder may not be written")
    if options.plot is not None:
        check_plotting()


def put_out(options: argparse.Namespace, result: Result, draw: Callable[[], None] | None = None) -> None:
    """Write the result's files, ``draw`` what else was asked for, and print it. Raises OSError.

    In this order, and in any case: neither a full disk nor a picture that cannot be drawn nor a reader that has gone
    takes the figures with it.
    """
    try:
        for name, write in WRITERS.items():
            path: Path | None = getattr(options, name)
            if path is not None:
                write(path, result)
        if draw is not None:
            draw()
    finally:
        print(as_text(result))

"""How far a measurement is, on the error stream."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size

WIDTH = 30
"""Characters of a bar."""


@contextmanager
def erased_at_error() -> Iterator[None]:
    """What is said of an error, or of Ctrl-C, does not come behind a bar that is not full yet."""
    try:
        yield
    except BaseException:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        raise


def show_line(line: str) -> None:
    """A line of text, instead of a bar that may stand there."""
    print(f"\r\033[K{line}" if sys.stderr.isatty() else line, file=sys.stderr, flush=True)


def show_progress(what: str, done: int, total: int, *, step: int = 1) -> None:
    """After every ``step``: a bar on a terminal, elsewhere a line for each tenth."""
    if sys.stderr.isatty():
        draw_bar(what, done, total)
    elif 10 * done // total > 10 * (done - step) // total:
        show_line(f"{what}: {done} of {total}")


def draw_bar(what: str, done: int, total: int) -> None:
    """A bar that is drawn over by the next one; nothing where there is no terminal."""
    if total and sys.stderr.isatty():
        full = WIDTH * done // total
        bar = f"[{'#' * full}{'.' * (WIDTH - full)}] {done} of {total} {what}"
        shown = bar[: get_terminal_size().columns - 1]  # one that is wrapped cannot be drawn over
        print(f"\r\033[K{shown}", end="\n" if done == total else "", file=sys.stderr, flush=True)

"""Progress of a measurement on the error stream: a tqdm bar on a terminal, lines of text elsewhere or without tqdm."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import get_terminal_size
from typing import Any


class ProgressBar:
    """The bar on the terminal; there is one at most."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._reported = False

    def show(self, what: str, done: int, total: int, *, step: int = 1) -> None:
        """Report that ``done`` of ``total`` are done, after every ``step``: as a bar, else as a line for each tenth."""
        if self.available():
            self.draw(what, done, total)
        elif 10 * done // total > 10 * (done - step) // total:
            show_line(f"{what}: {done} of {total}")

    def available(self) -> bool:
        """Whether a bar can be drawn; a terminal without tqdm is reported once."""
        if not sys.stderr.isatty():
            return False
        if _tqdm() is not None:
            return True
        if not self._reported:
            self._reported = True
            show_line("no progress bars: pip install tqdm")
        return False

    def draw(self, what: str, done: int, total: int) -> None:
        """Draw the bar anew, over the last one; a full bar stays."""
        if self._bar is not None and self._bar.total != total:
            self.erase()
        columns = get_terminal_size().columns - 1
        if self._bar is None:
            self._bar = _tqdm()(desc=what, total=total, file=sys.stderr, ncols=columns)
        self._bar.n, self._bar.ncols = done, columns
        self._bar.set_description_str(what)
        if done == total:
            self._bar.close()
            self._bar = None

    def erase(self) -> None:
        """Remove a bar that is not full."""
        if self._bar is not None:
            self._bar.leave = False
            self._bar.close()
            self._bar = None


_BAR = ProgressBar()


def _tqdm() -> Any:
    """The class tqdm; None where it is not installed, as on a board with only the runtime's packages."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


@contextmanager
def erased_at_error() -> Iterator[None]:
    """Erase an unfinished bar before an error, or Ctrl-C, is reported."""
    try:
        yield
    except BaseException:
        _BAR.erase()
        raise


def show_line(line: str) -> None:
    """Print a line of text, above the bar if there is one."""
    tqdm = _tqdm()
    if tqdm is None:
        print(line, file=sys.stderr)
    else:
        tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()


def show_progress(what: str, done: int, total: int, *, step: int = 1) -> None:
    """As ``ProgressBar.show``, with the bar of this process."""
    _BAR.show(what, done, total, step=step)


def draw_bar(what: str, done: int, total: int) -> None:
    """Draw a bar; nothing without a terminal, without tqdm or for a ``total`` of 0."""
    if total and _BAR.available():
        _BAR.draw(what, done, total)

"""Standard error without the remarks that TensorFlow's C++ code writes there whatever the log level is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOG_LEVEL = "2"
"""TensorFlow's level from which on its C++ code logs: errors."""

PATIENCE = 2.0
"""Seconds for grep to print what it still has."""

NOISE = "^WARNING: All log messages before absl::|^[IW][0-9]{4} |^E[0-9]{4} .*(cuInit|factory)"
"""Lines of absl's log (GNU grep -E): below errors, and errors about a GPU that is not there."""


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Pass what the process writes to descriptor 2 through grep, which drops NOISE.

    Another process, so that the last words of one that TensorFlow aborts are still printed. Without grep, or with
    another TF_CPP_MIN_LOG_LEVEL than LOG_LEVEL, nothing is filtered. Not for code that draws on the terminal.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", LOG_LEVEL) != LOG_LEVEL or not (started := _start()):
        yield
        return
    grep, kept = started
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        with suppress(subprocess.TimeoutExpired):  # a process that was started meanwhile holds the other end
            grep.wait(PATIENCE)


def _start() -> tuple[subprocess.Popen[bytes], int] | None:
    """A running grep that reads from descriptor 2, and a copy of the descriptor as it was."""
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed
        return None
    try:
        grep = subprocess.Popen(
            ["grep", "--line-buffered", "-avE", NOISE],
            stdin=subprocess.PIPE,
            stdout=kept,
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        os.close(kept)
        return None
    assert grep.stdin is not None
    os.dup2(grep.stdin.fileno(), 2)
    grep.stdin.close()
    return grep, kept

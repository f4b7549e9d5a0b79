"""``edge-emotion subscribe``: events as they arrive, for people or programs, with what is missing and what is odd."""

from __future__ import annotations

import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

from edge_emotion.cli.event_formats import CSV_HEADER, FORMATS, describe_totals
from edge_emotion.client import Client, EventReceived
from edge_emotion.system.append_file import AppendedFile

PATIENCE = 1.0
"""Seconds at most between two looks at whether somebody still reads."""


def subscribe(
    client: Client, *, form: str = "text", output: Path | None = None, count: int | None, duration: float | None
) -> int:
    """Write what comes until ``count`` events came or ``duration`` seconds passed, or until Ctrl-C; returns 0.

    ``form`` is one of ``FORMATS``; ``output`` is a file to append to, else standard output. The last line, on
    standard error, sums up. Raises SinkError if the broker cannot be reached or the file not be written, and
    BrokenPipeError if nobody reads standard output any more.
    """
    header = CSV_HEADER if form == "csv" else None
    until = None if duration is None else time.monotonic() + duration
    with closing(StandardOutput(header) if output is None else AppendedFile(output, header)) as lines:
        try:
            with _termination_as_interrupt(), client:
                _copy(client, lines, form, count, until)
        except KeyboardInterrupt:  # the usual way to end it
            pass
    summary = describe_totals(client.totals, checked=client.checks_gaps, not_understood=client.not_understood)
    print(summary, file=sys.stderr)
    return 0


def _copy(client: Client, lines: LineOutput, form: str, count: int | None, until: float | None) -> None:
    seen = 0
    while count is None or seen < count:
        left = PATIENCE if until is None else until - time.monotonic()
        if left <= 0:
            return
        item = client.receive(min(left, PATIENCE))
        if item is None:
            lines.check()
            continue
        for line in FORMATS[form](item):
            lines.write(line)
        client.acknowledge()  # now, not with the next: an interrupt would give it back to the broker
        seen += isinstance(item, EventReceived)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """``timeout`` and systemd end it as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class LineOutput(Protocol):
    """Takes lines without their ends."""

    def write(self, line: str) -> None:
        """Write the whole line and let others see it. Raises OSError if that fails."""

    def check(self) -> None:
        """Raises BrokenPipeError if nobody reads any more."""

    def close(self) -> None:
        """Write no more."""


class StandardOutput:
    """Line by line; a reader who has gone (``| head``) is noticed also while there is nothing to write."""

    def __init__(self, header: str | None = None) -> None:
        if header is not None:
            self.write(header)

    def write(self, line: str) -> None:
        """Raises BrokenPipeError if nobody reads any more."""
        print(line, flush=True)

    def check(self) -> None:
        """Raises BrokenPipeError if nobody reads any more."""
        try:
            number = sys.stdout.fileno()
        except (OSError, ValueError):  # in memory, or closed
            return
        poll = select.poll()
        poll.register(number, 0)
        if any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0)):
            raise BrokenPipeError("nobody reads standard output")

    def close(self) -> None:
        """It stays open."""

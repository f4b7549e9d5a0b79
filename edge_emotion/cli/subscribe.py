"""``edge-emotion subscribe``: events as they arrive, for people or programs, with gaps and repeats marked."""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from edge_emotion.cli.event_formats import CSV_HEADER, FORMATS, describe_totals
from edge_emotion.cli.interrupts import termination_as_interrupt
from edge_emotion.client import Client, EventReceived
from edge_emotion.errors import SinkError
from edge_emotion.system.append_file import AppendedFile, LineOutput, standard_output

PATIENCE = 1.0
"""Seconds at most between two checks that the output still has a reader."""


def subscribe(
    client: Client, *, form: str = "text", output: Path | None = None, count: int | None, duration: float | None
) -> int:
    """Write what comes until ``count`` events came or ``duration`` seconds passed, or until Ctrl-C; returns 0.

    ``form`` is one of ``FORMATS``; ``output`` is a file to append to, else standard output. The last line, on
    standard error, sums up. Raises SinkError if the broker cannot be reached or the file not be written, and
    BrokenPipeError if the reader of standard output has gone.
    """
    header = CSV_HEADER if form == "csv" else None
    until = None if duration is None else time.monotonic() + duration
    with closing(standard_output() if output is None else AppendedFile(output, header)) as lines:
        try:
            if header is not None and output is None:
                _write(lines, header)
            with termination_as_interrupt(), client:
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
        with suppress(SinkError):  # the renamed file still takes lines
            lines.follow()
        if item is None:
            if not lines.has_reader():
                raise BrokenPipeError(f"no process reads {lines.name}")
            continue
        for line in FORMATS[form](item):
            _write(lines, line)
        client.acknowledge()  # now, not with the next: an interrupt would give it back to the broker
        seen += isinstance(item, EventReceived)


def _write(lines: LineOutput, line: str) -> None:
    """Return when the whole line is written, however slow its reader is."""
    # A lone surrogate becomes the \\u escape that it is in JSON.
    data = line.encode("utf-8", "backslashreplace")
    for step in (partial(lines.write, data), lines.flush):
        while True:
            with suppress(BlockingIOError):
                step()
                break
            lines.wait(PATIENCE)

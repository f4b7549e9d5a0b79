"""The state directory of a node as its next process finds it: after a kill, a power cut, a flipped bit."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.outbox.outbox import Entry
from edge_emotion.wire.payloads import event_to_json
from support.samples import event

NODE = "pi5"
FILES = ("lock", "outbox.db", "outbox.db-wal")


def copy_state(folder: Path, target: Path) -> Path:
    """What the kernel has of the files, as after a SIGKILL."""
    target.mkdir(mode=0o700)
    for ending in (*FILES, "seq"):
        file = folder / f"{NODE}.{ending}"
        if file.exists():
            shutil.copyfile(file, target / file.name)
    return target


def count(counter: EventCounter, numbers: int) -> int:
    """Show some numbers; returns the last one."""
    last = 0
    for _ in range(numbers):
        last = counter()
        counter.save()
    return last


def entry(seq: int, place: int | None = None) -> Entry:
    """Event ``seq``, at its ``place`` in the outbox, which is the number itself unless given."""
    return Entry(seq if place is None else place, seq, "desk", event_to_json(event(seq)), 0.0)


def store(counter: EventCounter, *seqs: int, gone: tuple[int, ...] = ()) -> None:
    """Put events into the counter's outbox file, and take others out of it."""
    assert counter.store is not None
    counter.store.write([entry(seq) for seq in seqs], list(gone))


def name_of(handle: int) -> str:
    """Name of the file that is open as ``handle``."""
    return Path(f"/proc/self/fd/{handle}").readlink().name

"""Where the event counter goes on, from what the last process has left in the state directory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edge_emotion.outbox.counter_record import last_used
from edge_emotion.outbox.node_lock import read_copy
from edge_emotion.outbox.old_counter import read_old_counter
from edge_emotion.outbox.store import OutboxFile
from edge_emotion.system.atomic_file import sync_folder
from edge_emotion.system.private_file import move_aside_unless_regular

log = logging.getLogger("edge_emotion.outbox.event_counter")

T = TypeVar("T")

MARGIN = 4096
"""Numbers that are skipped if only the outbox is left: it need not have stored all that were shown."""


@dataclass(frozen=True, slots=True)
class StateFiles:
    """The files of a node in its state directory."""

    folder: Path
    node: str

    @property
    def lock(self) -> Path:
        """The lock file, with a copy of the counter's record."""
        return self.folder / f"{self.node}.lock"

    @property
    def outbox(self) -> Path:
        """The outbox file, with the counter's table."""
        return self.folder / f"{self.node}.outbox.db"

    @property
    def old_counter(self) -> Path:
        """The counter of older versions."""
        return self.folder / f"{self.node}.seq"


def recover(files: StateFiles, store: OutboxFile, boot: str) -> int:
    """The last number that can have been seen; damage is logged, and events that are lost are counted in ``store``.

    ``store`` is open. Raises OSError, sqlite3.Error.
    """
    copy, intact = _read(lambda: read_copy(files.lock))
    move_aside_unless_regular(files.old_counter)
    old, old_intact = _read(lambda: read_old_counter(files.old_counter, store.mark, boot))
    last = max(last_used(store.counter, copy, store.mark, boot), old or 0)
    if not (intact and old_intact) or store.damaged:
        if store.counter is None and copy is None and old is None and last:
            last += MARGIN
        _log_damage(files.node, last)
    if copy is not None and copy.is_exact(boot):
        store.count_missing(copy)
    record = copy or store.counter
    if store.open_tracks and record is not None and record.closed:  # all were ended, but the disk did not take it
        store.forget_tracks()
    return last


def last_readable(files: StateFiles, boot: str) -> int:
    """As ``recover``, from files that cannot be written; what cannot be read is left out."""
    copy = old = None
    with suppress(OSError, ValueError):
        copy = read_copy(files.lock)
    with suppress(OSError, ValueError):
        old = read_old_counter(files.old_counter, None, boot)
    return max(last_used(None, copy, None, boot), old or 0)


def remove_old_counter(files: StateFiles) -> None:
    """It has been taken over: never again. A damaged one is kept under another name. Raises OSError."""
    path = files.old_counter
    if not path.exists():
        return
    if _read(lambda: read_old_counter(path, None, ""))[1]:
        path.unlink()
    else:
        path.replace(path.with_name(path.name + ".damaged"))
    sync_folder(files.folder)


def _read(read: Callable[[], T]) -> tuple[T | None, bool]:
    """Result of ``read``, and whether the file is intact."""
    try:
        return read(), True
    except ValueError:
        return None, False


def _log_damage(node: str, last: int) -> None:
    if last:
        log.warning(
            "the event counter of node %s is damaged: event numbers go on at %d, after the last that can have been "
            "used",
            node,
            last + 1,
        )
    else:
        log.warning(
            "the event counter of node %s is damaged and nothing is left of it: event numbers start again at 1", node
        )

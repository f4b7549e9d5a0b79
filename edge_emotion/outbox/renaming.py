"""A node with another name than before in its state directory: its files continue under the new name."""

from __future__ import annotations

import logging
import os
import re
from contextlib import closing
from pathlib import Path

from edge_emotion.outbox.node_lock import NodeLock
from edge_emotion.system.atomic_file import sync_folder
from edge_emotion.system.private_file import open_private
from edge_emotion.wire.topics import NAME_PATTERN

log = logging.getLogger("edge_emotion.outbox.event_counter")

SHARED = "several-nodes"
"""File in a state directory that two nodes have used at the same time: a new name is a new node there."""

_LOCK = ".lock"
ENDINGS = (
    ".features.json",
    ".announced.json",
    ".update.json",
    ".models",
    ".seq",
    ".outbox.db-wal",
    ".outbox.db-journal",
    ".outbox.db",
    _LOCK,
)
"""In the order of their move. The lock is the last: without it, the next start continues an interrupted move."""


def continue_under(folder: Path, node: str) -> str | None:
    """Give the files of the node that used ``folder`` last to ``node``, unless that has files already.

    Returns the earlier name. None if there is none, or if several nodes use the folder, which is recorded. Raises
    OSError.
    """
    earlier = _free_node(folder, node)
    if earlier is None or (folder / SHARED).exists() or (folder / f"{node}{_LOCK}").exists():
        return None
    with closing(NodeLock(folder / f"{earlier}{_LOCK}")):
        for ending in ENDINGS:
            old = folder / f"{earlier}{ending}"
            if os.path.lexists(old):
                old.replace(folder / f"{node}{ending}")
        sync_folder(folder)
    log.info("node %s was named %s: its event numbers, events that wait and settings continue", node, earlier)
    return earlier


def _free_node(folder: Path, node: str) -> str | None:
    """The node that used the folder last and does not run; None if there is none, or if another one runs."""
    found: list[tuple[float, str]] = []
    for path in folder.glob(f"*{_LOCK}"):
        if path.stem == node or not re.fullmatch(NAME_PATTERN, path.stem) or not path.is_file() or path.is_symlink():
            continue
        try:
            NodeLock(path).close()
        except BlockingIOError:
            os.close(open_private(folder / SHARED))
            return None
        found.append((path.stat().st_mtime, path.stem))
    return max(found)[1] if found else None

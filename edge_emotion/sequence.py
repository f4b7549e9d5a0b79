"""The node's event counter, which goes on where it was after a restart."""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path
from typing import IO

from edge_emotion.errors import ConfigError
from edge_emotion.manifest import write_text

log = logging.getLogger(__name__)


class Sequence:
    """Counts 1, 2, 3 ...; kept in the file ``<node>.seq`` of the state directory, which one process at a time may use.

    In memory only without a directory. Raises ConfigError if the directory cannot be written or another process
    counts for this node.
    """

    def __init__(self, folder: Path | None, node: str = "node") -> None:
        self._path = None if folder is None else folder / f"{node}.seq"
        self._lock: IO[bytes] | None = None
        self._last = self._saved = 0
        if folder is None or self._path is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (folder / f"{node}.lock").open("ab")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._last = self._saved = self._read(self._path)
            write_text(self._path, f"{self._last}\n")
        except BlockingIOError as error:
            raise ConfigError(f"another daemon runs as node {node!r} with state_dir {folder}: stop it first") from error
        except OSError as error:
            raise ConfigError(f"state_dir {folder} is not usable: {error.strerror}") from error

    def __call__(self) -> int:
        """The next number."""
        self._last += 1
        return self._last

    def save(self) -> None:
        """Write the counter if it moved. No fsync: the kernel merges writes, which spares an SD card."""
        if self._path is None or self._last == self._saved:
            return
        try:
            write_text(self._path, f"{self._last}\n")
        except OSError as error:
            log.error("cannot save the event counter in %s: %s", self._path, error.strerror)
        self._saved = self._last

    def close(self) -> None:
        """Let another process count."""
        if self._lock is not None:
            self._lock.close()

    def _read(self, path: Path) -> int:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            return 0
        if text.strip().isdigit():
            return int(text)
        log.warning("%s is damaged: event numbers start again at 1", path)
        return 0

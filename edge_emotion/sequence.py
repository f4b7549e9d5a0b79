"""The node's event counter, which goes on where it was after a restart."""

from __future__ import annotations

import logging
from pathlib import Path

from edge_emotion.errors import ConfigError
from edge_emotion.manifest import write_text

log = logging.getLogger(__name__)


class Sequence:
    """Counts 1, 2, 3 ...; kept in the file ``seq`` of the state directory. In memory only without a directory.

    Raises ConfigError if the directory cannot be written.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "seq"
        self._last = self._saved = 0
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._last = self._saved = int(self._path.read_text(encoding="ascii"))
        except FileNotFoundError:
            self.save(force=True)
        except ValueError:
            log.warning("%s is damaged: event numbers start again at 1", self._path)
        except OSError as error:
            raise ConfigError(f"state_dir {self._path.parent} is not usable: {error.strerror}") from error

    def __call__(self) -> int:
        """The next number."""
        self._last += 1
        return self._last

    def save(self, *, force: bool = False) -> None:
        """Write the counter if it moved. No fsync: the kernel merges writes, which spares an SD card."""
        if self._path is None or (self._last == self._saved and not force):
            return
        try:
            write_text(self._path, f"{self._last}\n")
        except OSError as error:
            if force:
                raise ConfigError(f"state_dir {self._path.parent} is not writable: {error.strerror}") from error
            log.error("cannot save the event counter in %s: %s", self._path, error.strerror)
        self._saved = self._last

"""The releases of one model on the disk, and the link that says which one is used.

``MODELS/NAME`` is a link to a folder in ``MODELS/NAME.releases``, where ``state.json`` keeps the highest serial and
the release to go back to. The link is replaced by a rename: it leads to a whole release at every moment.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.system.atomic_file import sha256, sync_folder, write_text
from edge_emotion.updates.description import DESCRIPTION, Release

RELEASE_FOLDER = r"[0-9]+\.[0-9]+"
"""Serial, and the number of its installation."""

_PART, _STATE, _LOCK, _LINK = "new.part", "state.json", "lock", "link.part"


class InstallationRuns(ConfigError):  # noqa: N818 - the name is clear without Error
    """Another process installs a release of the same model now."""


class State(BaseModel):
    """Content of ``state.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    highest_serial: int = Field(default=0, ge=0)
    last_good: str | None = Field(default=None, pattern=f"^{RELEASE_FOLDER}$")


class InstalledModel:
    """The releases of the model ``name`` in the folder ``models``."""

    def __init__(self, models: Path, name: str) -> None:
        self.name, self.link, self.folder = name, models / name, models / f"{name}.releases"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process changes the releases; what a killed one left half-written is removed.

        Raises InstallationRuns if another one does so now, ConfigError if the name is taken by something else.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InstallationRuns(f"another process installs {self.link}: wait for it") from None
            if not self._is_ours():
                raise ConfigError(
                    f"{self.link} was not made by edge-emotion install: move it away, or choose another folder"
                )
            self._remove_part()
            try:
                yield
            finally:
                self._remove_part()

    def current(self) -> Path | None:
        """The folder of the release in use; None without one."""
        if not self.link.is_symlink():
            return None
        target = self.folder / self.link.readlink().name
        return target if target.is_dir() else None

    def current_serial(self) -> int | None:
        """The serial of the release in use; None without one."""
        folder = self.current()
        return None if folder is None else int(folder.name.partition(".")[0])

    def current_sha256(self) -> str | None:
        """The SHA-256 of the description of the release in use; None without one."""
        folder = self.current()
        return None if folder is None else sha256(folder / DESCRIPTION)

    def state(self) -> State:
        """What is kept over restarts. Raises ModelError if it is damaged: a lower serial could come in unseen."""
        path = self.folder / _STATE
        try:
            return State.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return State()
        except ValidationError as error:
            raise ModelError(
                f"{path} is damaged, so that the highest serial is not known: give it back its content, or remove it "
                "if you trust the release"
            ) from error

    def begin(self) -> Path:
        """An empty folder for a new release, beside the others."""
        part = self.folder / _PART
        part.mkdir()
        return part

    def use(self, part: Path, release: Release) -> None:
        """Make the release in ``part`` the one in use, and the one before it the one to go back to."""
        state, before = self.state(), self.current()
        again = self.current_serial() == release.serial
        last_good = state.last_good if before is None or again else before.name
        highest = max(state.highest_serial, release.serial)
        taken = (f"{release.serial}.{number}" for number in count(1))
        target = next(path for name in taken if not (path := self.folder / name).exists())
        sync_folder(part)
        part.rename(target)
        sync_folder(self.folder)
        self._save(State(highest_serial=highest, last_good=state.last_good))
        self._point_to(target)
        self._save(State(highest_serial=highest, last_good=last_good))
        self._remove_others({target.name, last_good})

    def back(self) -> None:
        """Use the last good release again. Raises ConfigError without one."""
        state, now = self.state(), self.current()
        before = None if state.last_good is None else self.folder / state.last_good
        if before is None or not before.is_dir() or before == now:
            raise ConfigError(f"there is no release of {self.name} in {self.folder.parent} to go back to")
        self._point_to(before)
        self._save(state.model_copy(update={"last_good": None}))

    def leave(self) -> None:
        """Use no release any more. The one that was used stays on the disk until the next is installed."""
        self.link.unlink(missing_ok=True)
        sync_folder(self.link.parent)

    def _is_ours(self) -> bool:
        """Whether the name is free, or a link into our folder."""
        if self.link.is_symlink():
            target = self.link.readlink()
            return target.parent == Path(self.folder.name) and re.fullmatch(RELEASE_FOLDER, target.name) is not None
        return not self.link.exists()

    def _save(self, state: State) -> None:
        write_text(self.folder / _STATE, json.dumps(state.model_dump()) + "\n")

    def _point_to(self, target: Path) -> None:
        new = self.folder / _LINK
        new.unlink(missing_ok=True)
        new.symlink_to(Path(self.folder.name) / target.name)
        new.replace(self.link)
        sync_folder(self.link.parent)

    def _remove_part(self) -> None:
        shutil.rmtree(self.folder / _PART, ignore_errors=True)

    def _remove_others(self, kept: set[str | None]) -> None:
        for folder in self.folder.iterdir():
            if folder.is_dir() and folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

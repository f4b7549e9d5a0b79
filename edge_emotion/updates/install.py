"""Installation of a release: everything is checked beside the model in use, which is then exchanged at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from edge_emotion import __version__
from edge_emotion.config.settings import ClassifierSettings
from edge_emotion.errors import ConfigError, EdgeEmotionError, ModelError, ReleaseRefused, SinkError
from edge_emotion.factory.models import configured_classifier, make_detector
from edge_emotion.models.folder import checked_file, load_manifest
from edge_emotion.models.manifest import ModelManifest
from edge_emotion.updates.description import (
    DESCRIPTION,
    MAX_DESCRIPTION,
    SIGNATURE,
    Release,
    ReleasedFile,
    parse_release,
    require_current,
    require_runtime,
)
from edge_emotion.updates.installed import InstalledModel
from edge_emotion.updates.minisign import LARGEST, PublicKey, parse_signature, verify
from edge_emotion.updates.release_source import ReleaseSource, open_release, read_whole

SPARE = 2**20
"""Bytes that stay free on the disk."""

_BLOCK = 2**20


def install(
    path: Path,
    models: Path,
    trusted: Sequence[PublicKey],
    *,
    classifier: ClassifierSettings | None = None,
    downgrade: bool = False,
    ordered: str | None = None,
) -> Release:
    """Install the release at ``path`` as ``models``/NAME; ``classifier`` has the options with which it will run.

    ``ordered`` is the SHA-256 that its description must have; None: any.
    Raises ReleaseRefused for one that is not to be trusted, ModelError for one that does not work here, SinkError if it
    cannot be written. The model in use stays as it is then.
    """
    with open_release(path) as source:
        signed, signature = read_whole(source, DESCRIPTION, MAX_DESCRIPTION), read_whole(source, SIGNATURE, LARGEST)
        if ordered is not None:
            require_ordered(signed, ordered)
        verify(signed, parse_signature(signature), trusted)
        release = parse_release(signed)
        require_current(release, datetime.now(timezone.utc))
        require_runtime(release, __version__)
        installed = InstalledModel(models, release.name)
        with disk_errors(release.title, models), installed.locked():
            _require_serial(release, installed, downgrade)
            _require_room(release, installed.folder)
            part = installed.begin()
            for file in release.files:
                _copy(source, file, part / file.name)
            for name, content in ((DESCRIPTION, signed), (SIGNATURE, signature)):
                _write(part / name, iter((content,)))
            _try(part, release, classifier or ClassifierSettings())
            installed.use(part, release)
    return release


def require_ordered(signed: bytes, ordered: str) -> None:
    """Raises ReleaseRefused for a description with another SHA-256 than was ordered."""
    if hashlib.sha256(signed).hexdigest() != ordered:
        raise ReleaseRefused(f"{DESCRIPTION} is not the one that was ordered: another release lies there")


def go_back(models: Path, name: str) -> int:
    """Use the last good release of the model ``name`` again, and return its serial. Raises ConfigError without one."""
    installed = InstalledModel(models, name)
    if not installed.folder.is_dir():
        raise ConfigError(f"no release of {name} was installed in {models}")
    with disk_errors(f"the link to {name}", models), installed.locked():
        installed.back()
        return installed.current_serial() or 0


def undo(models: Path, name: str, *, may_leave: bool) -> None:
    """Use the last good release again, or none if ``may_leave``. Raises ConfigError, SinkError."""
    installed = InstalledModel(models, name)
    with disk_errors(f"the link to {name}", models), installed.locked():
        try:
            installed.back()
        except ConfigError:
            if not may_leave:
                raise
            installed.leave()


def _require_serial(release: Release, installed: InstalledModel, downgrade: bool) -> None:
    highest = max(installed.state().highest_serial, installed.current_serial() or 0)
    if release.serial < highest and not downgrade:
        raise ReleaseRefused(
            f"{release.title} is older than serial {highest}, which was installed here: give a newer release, or "
            "--downgrade if you want the old one"
        )


def _require_room(release: Release, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < release.size + SPARE:
        raise SinkError(f"{release.title} needs {release.size + SPARE} bytes, and {folder.parent} has {free} left")


def _copy(source: ReleaseSource, file: ReleasedFile, target: Path) -> None:
    """Write one file of the signed size and hash. Raises ModelError for any other, after ``size`` bytes at most."""
    digest, size = hashlib.sha256(), 0

    def checked() -> Iterator[bytes]:
        nonlocal size
        with source.open(file.name) as opened:
            while block := opened.read(min(_BLOCK, file.size + 1 - size)):
                size += len(block)
                digest.update(block)
                if size > file.size:
                    raise ModelError(f"{file.name} of the release is larger than the signed {file.size} bytes")
                yield block

    _write(target, checked())
    if size < file.size:
        raise ModelError(f"{file.name} of the release is truncated: {size} bytes instead of {file.size}")
    if digest.hexdigest() != file.sha256:
        raise ModelError(f"{file.name} of the release has another content than the signed one: get the release again")


def _write(target: Path, blocks: Iterator[bytes]) -> None:
    with target.open("xb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _try(folder: Path, release: Release, options: ClassifierSettings) -> None:
    """Load the model as a daemon would, a foreign file in another process first. Raises ModelError."""
    manifest = load_manifest(folder)
    if (manifest.name, manifest.version) != (release.name, release.version):
        raise ModelError(f"{release.title} contains {manifest.name} {manifest.version}: make the release again")
    signed = {file.name for file in release.files}
    for entry in manifest.files:
        if entry.file not in signed:
            raise ModelError(f"{release.title} has no {entry.file}, which its manifest names: make the release again")
        checked_file(folder, entry)
    if isinstance(manifest, ModelManifest):
        configured_classifier(options.model_copy(update={"model": str(folder)})).backend.close()
    else:
        make_detector(str(folder)).backend.close()


@contextmanager
def disk_errors(what: str, models: Path) -> Iterator[None]:
    """A disk that cannot be written is a SinkError of one line."""
    try:
        yield
    except EdgeEmotionError:
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SinkError(f"cannot write {what} in {models}: {reason}; the model in use stays as it is") from error

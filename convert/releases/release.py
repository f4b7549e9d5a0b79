"""A release of a model folder: its files, their signed description, and the signature."""

from __future__ import annotations

import io
import shutil
import tarfile
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from pydantic import ValidationError

from edge_emotion.errors import ConfigError, SinkError
from edge_emotion.models.folder import MANIFEST, checked_file, find_model, load_manifest
from edge_emotion.system.atomic_file import sha256
from edge_emotion.system.plain_words import first_fault
from edge_emotion.updates.description import DESCRIPTION, SIGNATURE, Release, ReleasedFile, dump_release
from edge_emotion.updates.minisign import signature_text
from edge_emotion.updates.secret_key import SecretKey

EXTRA = "NOTICE", "LICENSE", "README.md"
"""Files that belong to a model folder, if it has them, besides those of its manifest."""


def make_release(
    model: str, key: SecretKey, out: Path, *, serial: int, days: float, minimum_runtime: str, as_tar: bool = False
) -> Path:
    """Write ``out``/NAME-SERIAL, a folder, or NAME-SERIAL.tar, and return its path.

    Raises UnknownModel or ModelError for a folder that does not agree with its manifest, ConfigError for one that is
    there already or that is too large for a release, SinkError if it cannot be written.
    """
    folder = find_model(model)
    files = _files(folder)
    release = describe(folder, files, serial=serial, days=days, minimum_runtime=minimum_runtime)
    target = out / (f"{release.name}-{serial}" + (".tar" if as_tar else ""))
    if target.exists():
        raise ConfigError(f"{target} is there already: give a higher --serial, or another --out")
    signed = dump_release(release)
    signature = signature_text(key.sign(signed, release.title))
    added = {DESCRIPTION: signed, SIGNATURE: signature}
    part = target.with_name(target.name + ".part")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (_write_tar if as_tar else _write_folder)(part, files, added)
        part.rename(target)
    except OSError as error:
        raise SinkError(f"cannot write {target}: {error.strerror}; make room, or choose another --out") from error
    finally:
        with suppress(OSError):
            shutil.rmtree(part) if part.is_dir() else part.unlink()
    return target


def describe(folder: Path, files: list[Path], *, serial: int, days: float, minimum_runtime: str) -> Release:
    """The description of a release of these files, which expires after ``days``. Raises ConfigError, ModelError."""
    manifest = load_manifest(folder)
    for entry in manifest.files:
        checked_file(folder, entry)
    try:
        return Release(
            schema=1,
            name=manifest.name,
            version=manifest.version,
            serial=serial,
            expires=datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=days),
            minimum_runtime=minimum_runtime,
            files=tuple(ReleasedFile(name=file.name, size=file.stat().st_size, sha256=sha256(file)) for file in files),
        )
    except ValidationError as error:
        raise ConfigError(f"no release of {folder}: {first_fault(error, '')}") from error


def _files(folder: Path) -> list[Path]:
    named = dict.fromkeys(entry.file for entry in load_manifest(folder).files)
    return [folder / name for name in (MANIFEST, *named, *(name for name in EXTRA if (folder / name).is_file()))]


def _write_folder(part: Path, files: list[Path], added: dict[str, bytes]) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for file in files:
        shutil.copyfile(file, part / file.name)
    for name, content in added.items():
        (part / name).write_bytes(content)


def _write_tar(part: Path, files: list[Path], added: dict[str, bytes]) -> None:
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in added.items():
            _add(tar, name, content)
        for file in files:
            _add(tar, file.name, file.read_bytes())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without owner and date."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    tar.addfile(member, io.BytesIO(content))

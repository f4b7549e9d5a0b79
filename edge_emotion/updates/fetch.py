"""An ordered release is brought here, from a folder or over HTTPS. Whether it is good is for ``install`` to find."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from edge_emotion.errors import ModelError, SinkError
from edge_emotion.system.atomic_file import sha256
from edge_emotion.updates.description import DESCRIPTION, MAX_DESCRIPTION, SIGNATURE, Release, parse_release
from edge_emotion.updates.download import Download
from edge_emotion.updates.https_request import FetchFailed, Pace
from edge_emotion.updates.install import SPARE, disk_errors, require_ordered
from edge_emotion.updates.minisign import LARGEST
from edge_emotion.wire.model_order import ModelOrder

_FOLDER = "download-"


def fetch(
    order: ModelOrder,
    folder: Path,
    ca: Path | None = None,
    *,
    pace: Pace | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Where the ordered release lies; what comes over HTTPS is kept in ``folder``, also when it breaks off.

    Raises FetchFailed if it cannot be had now, SinkError without room for it or if it cannot be written, ReleaseRefused
    and ModelError for another one than was ordered.
    """
    if order.source.startswith("/"):
        return _folder(Path(order.source))
    download = Download(order.source, ca, pace=pace, cancelled=cancelled)
    signed = download.read(DESCRIPTION, MAX_DESCRIPTION)
    require_ordered(signed, order.release.sha256)
    signature, release = download.read(SIGNATURE, LARGEST), parse_release(signed)
    with disk_errors(release.title, folder):
        target = _begin(folder, order.release.sha256)
        _require_room(release, target)
        for name, content in ((DESCRIPTION, signed), (SIGNATURE, signature)):
            (target / name).write_bytes(content)
        for file in release.files:
            _complete(download, file.name, file.size, file.sha256, target)
    return target


def forget_download(folder: Path, kept: Path | None = None) -> None:
    """Remove what downloads have left in ``folder``, but not ``kept``."""
    for other in folder.glob(f"{_FOLDER}*"):
        if other != kept:
            shutil.rmtree(other, ignore_errors=True)


def _folder(folder: Path) -> Path:
    if not folder.exists():
        raise FetchFailed(f"there is no {folder} now")
    return folder


def _begin(folder: Path, ordered: str) -> Path:
    """The folder of this download, without the rests of others."""
    target = folder / f"{_FOLDER}{ordered[:16]}"
    forget_download(folder, target)
    target.mkdir(parents=True, exist_ok=True)
    return target


def _require_room(release: Release, target: Path) -> None:
    """Raises SinkError if the disk cannot hold what is missing, and its copy for the installation."""
    have = sum(file.stat().st_size for file in target.iterdir())
    need, free = max(0, release.size - have) + release.size + SPARE, shutil.disk_usage(target).free
    if free < need:
        raise SinkError(f"{release.title} needs {need} bytes to be fetched, and {target.parent} has {free} left")


def _complete(download: Download, name: str, size: int, ordered: str, target: Path) -> None:
    """Fetch one file. Raises ModelError for another content, FetchFailed if it was put together from two attempts."""
    path = target / name
    began = path.stat().st_size if path.exists() else 0
    download.complete(name, size, path)
    if sha256(path) != ordered:
        path.unlink()
        if began:
            raise FetchFailed(f"{name} of the release has changed between two attempts: it is fetched anew")
        raise ModelError(f"{name} of the release has another content than the signed one")

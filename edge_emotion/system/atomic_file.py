"""Files that are replaced as a whole: a reader finds the old content or the new one, after a power cut too."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

PUBLIC, PRIVATE = 0o644, 0o600
"""Permissions of a new file, before the umask: readable by everybody, or by its owner only."""


def write_text(path: Path, text: str, mode: int = PUBLIC) -> None:
    """``write_bytes`` for UTF-8."""
    write_bytes(path, text.encode("utf-8"), mode)


def write_bytes(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Replace ``path`` by a new file with ``content``. The disk has it when this returns. Raises OSError.

    A symbolic link at ``path`` is replaced, not followed.
    """
    write_all({path: content}, mode)


def write_all(contents: Mapping[Path, bytes], mode: int = PUBLIC) -> None:
    """``write_bytes`` for files that belong together: none is renamed, in their order, before all are written."""
    parts = {path: path.with_name(path.name + ".part") for path in contents}
    try:
        for path, content in contents.items():
            _write_new(parts[path], content, mode)
        for path, part in parts.items():
            part.replace(path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise
    for folder in {path.parent for path in contents}:
        sync_folder(folder)


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Return when the disk has the names in ``folder``. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot sync folders
            raise
    finally:
        os.close(handle)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)  # left by a crash, or planted
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

"""Small JSON files in the state directory, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def load_json(path: Path) -> dict[str, Any]:
    """The object in ``path``; an empty one if there is none, or, which is logged, none that can be read."""
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s) and is left aside: it will be written anew", path, error)
        return {}
    if not isinstance(data, dict):
        log.warning("%s holds no JSON object and is left aside: it will be written anew", path)
        return {}
    return data


def save_json(path: Path, data: dict[str, Any]) -> None:
    """Replace ``path``, mode 0600, on the disk when this returns. A disk that does not let us is logged, no error."""
    fresh = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(json.dumps(data, indent=1).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        log.error("cannot save %s (%s): a restart forgets what it would hold", path, error.strerror)


def write_text(path: Path, text: str) -> None:
    """``write_bytes`` for UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write beside, then rename: a reader sees the old file or the new one, never half of one. Raises OSError."""
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes]) -> None:
    """``write_bytes`` for files that belong together: none is renamed, in their order, before all are written."""
    parts = {path: path.with_name(path.name + ".part") for path in contents}
    try:
        for path, content in contents.items():
            parts[path].write_bytes(content)
        for path, part in parts.items():
            part.replace(path)
    except BaseException:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Returns when the disk has the names in it. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

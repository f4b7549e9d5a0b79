"""Small JSON files in the state directory, written whole or not at all."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from edge_emotion.sequence import sync_folder

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

"""Model folders that a test may damage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from edge_emotion.models.folder import MANIFEST, find_model


def copy_with_first_file(name: str, folder: Path) -> Path:
    """A copy of a shipped model with its first file alone: there is nothing to fall back to. Returns the folder."""
    shutil.copytree(find_model(name), folder)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    first, *others = manifest["files"]
    for entry in others:
        (folder / entry["file"]).unlink()
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": [first]}), encoding="utf-8")
    return folder

"""Writing of model folders, atomically."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_emotion.models.folder import MANIFEST, dump_manifest, parse_manifest
from edge_emotion.models.manifest import BaseManifest
from edge_emotion.system.atomic_file import write_all


def write_model(folder: Path, manifest: BaseManifest, files: Mapping[str, bytes] | None = None) -> Path:
    """Write files, by their names, and the manifest into a folder, which is made if it is missing; returns the folder.

    All new files are complete before the first old one is replaced, and the manifest is replaced last. Raises
    ModelError for a manifest that the runtime would refuse, OSError if there is no room; the old folder is then
    unchanged.
    """
    text = dump_manifest(manifest)
    parse_manifest(text, folder / MANIFEST)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {folder / name: content for name, content in (files or {}).items()}
    write_all({**contents, folder / MANIFEST: text.encode("utf-8")})
    return folder

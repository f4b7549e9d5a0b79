"""Model folders, written whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_emotion.models.folder import MANIFEST, dump_manifest, parse_manifest
from edge_emotion.models.manifest import BaseManifest
from edge_emotion.system.atomic_file import write_all


def write_model(folder: Path, manifest: BaseManifest, files: Mapping[str, bytes] | None = None) -> Path:
    """Put files, by their names, and the manifest into a folder, which is made if need be; returns it.

    All are written beside what is there before the first is replaced, and the manifest is replaced last. Raises
    ModelError for a manifest that the runtime would refuse, OSError if there is no room; then the old folder stays.
    """
    text = dump_manifest(manifest)
    parse_manifest(text, folder / MANIFEST)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {folder / name: content for name, content in (files or {}).items()}
    write_all({**contents, folder / MANIFEST: text.encode("utf-8")})
    return folder

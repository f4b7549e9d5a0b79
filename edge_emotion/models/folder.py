"""Model folders on the disk: find, read, check."""

from __future__ import annotations

import difflib
import json
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from edge_emotion.errors import ModelError, UnknownModel
from edge_emotion.models.manifest import BaseManifest, DetectorManifest, ModelFile, ModelManifest
from edge_emotion.system.atomic_file import sha256
from edge_emotion.system.paths import expand
from edge_emotion.system.plain_words import first_fault

MANIFEST = "manifest.json"
MODELS = Path(__file__).parent
MAX_MANIFEST, MAX_MODEL = 4 * 2**20, 2**30
"""Largest files in bytes that are read."""

FLAT_LIST = re.compile(r"\[[^\[\]{}]*\]")


def dump_manifest(manifest: BaseManifest) -> str:
    """The manifest as JSON text, lists of numbers and names on one line each."""
    text = json.dumps(manifest.model_dump(mode="json", by_alias=True, exclude_none=True), indent=2)
    return FLAT_LIST.sub(lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text) + "\n"


def find_model(name: str) -> Path:
    """The folder of a model: a shipped name, or a path to a folder (or to its manifest.json).

    Raises UnknownModel if there is none.
    """
    path = expand(name)
    for folder in (path.parent if path.name == MANIFEST else path, MODELS / name):
        if (folder / MANIFEST).is_file():
            return folder
    shipped = sorted(entry.parent.name for entry in MODELS.glob(f"*/{MANIFEST}"))
    near = difflib.get_close_matches(name, shipped, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    known = ", ".join(shipped)
    raise UnknownModel(
        f"no model {name!r}{hint}: not a folder with a {MANIFEST}, and not one of the shipped ones: {known}"
    )


def load_manifest(folder: Path) -> ModelManifest | DetectorManifest:
    """Read and validate ``manifest.json``. Raises ModelError with the first fault and its place."""
    path = folder / MANIFEST
    _check_file(path, MAX_MANIFEST)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    return parse_manifest(text, path)


def _check_file(path: Path, most: int) -> None:
    """Raises ModelError unless this is a regular file of at most ``most`` bytes: a pipe or a device never ends."""
    try:
        status = path.stat()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"cannot read {path}: it is no file")
    if status.st_size > most:
        raise ModelError(f"cannot read {path}: it has {status.st_size} bytes, {most} are the most")


def parse_manifest(text: str, path: Path) -> ModelManifest | DetectorManifest:
    """The manifest that a text holds; ``path`` is where it stands, for errors. Raises as ``load_manifest`` does."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    task = data.get("task") if isinstance(data, dict) else None
    kind = DetectorManifest if task == "face-detection" else ModelManifest
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ModelError(f"{path}: {first_fault(error, 'manifest')}") from error


def checked_file(folder: Path, entry: ModelFile) -> Path:
    """The path of a model file whose content has the promised hash. Raises ModelError otherwise."""
    path = folder / entry.file
    _check_file(path, MAX_MODEL)
    try:
        digest = sha256(path)
    except OSError as error:
        raise ModelError(f"cannot read model file {path}: {error.strerror}") from error
    if digest != entry.sha256:
        raise ModelError(
            f"{path} has sha256 {digest[:12]}..., its manifest promises {entry.sha256[:12]}...: "
            "the file was changed or damaged; install it again"
        )
    return path


def shipped_models() -> Sequence[Path]:
    """Folders of the models in this installation, sorted by name."""
    return sorted(entry.parent for entry in MODELS.glob(f"*/{MANIFEST}"))


@cache
def shipped_hashes() -> frozenset[str]:
    """SHA-256 of each model file of this installation, by the manifests."""
    hashes: set[str] = set()
    for folder in shipped_models():
        with suppress(ModelError):  # a damaged one is reported where it is used
            hashes.update(entry.sha256 for entry in load_manifest(folder).files)
    return frozenset(hashes)

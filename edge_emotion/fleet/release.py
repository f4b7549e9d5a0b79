"""The release that a roll-out brings, checked on the workstation before anything is ordered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from edge_emotion.errors import ReleaseRefused
from edge_emotion.fleet.view import FleetNode
from edge_emotion.models.folder import MANIFEST, parse_manifest
from edge_emotion.updates.description import (
    DESCRIPTION,
    MAX_DESCRIPTION,
    SIGNATURE,
    Release,
    parse_release,
    require_current,
)
from edge_emotion.updates.minisign import LARGEST, PublicKey, parse_signature, verify
from edge_emotion.updates.release_source import ReleaseSource, open_release, read_whole
from edge_emotion.wire.model_order import OrderedRelease

_LARGEST_MANIFEST = 2**20


class CheckedRelease(NamedTuple):
    """A release that was signed by the key of the roll-out. ``precisions``: those of its files."""

    release: Release
    ordered: OrderedRelease
    precisions: frozenset[str]


def check_release(path: Path, key: PublicKey) -> CheckedRelease:
    """Read the release at ``path``. Raises ConfigError without one, ReleaseRefused if expired or not by ``key``."""
    with open_release(path) as source:
        signed = read_whole(source, DESCRIPTION, MAX_DESCRIPTION)
        verify(signed, parse_signature(read_whole(source, SIGNATURE, LARGEST)), [key])
        release = parse_release(signed)
        require_current(release, datetime.now(timezone.utc))
        for file in release.files:
            _require_file(source, file.name, file.size, file.sha256)
        manifest = parse_manifest(read_whole(source, MANIFEST, _LARGEST_MANIFEST).decode(), path / MANIFEST)
    ordered = OrderedRelease(
        name=release.name,
        version=release.version,
        serial=release.serial,
        sha256=hashlib.sha256(signed).hexdigest(),
    )
    return CheckedRelease(release, ordered, frozenset(file.precision for file in manifest.files))


def require_newer(release: OrderedRelease, nodes: Iterable[FleetNode]) -> None:
    """Raises ReleaseRefused if a node uses a higher serial: it would refuse this one."""
    for node in nodes:
        report = node.report
        installed = None if report is None else report.installed
        if installed is not None and installed > release.serial:
            raise ReleaseRefused(
                f"{release.title} is older than serial {installed}, which node {node.name} uses: nodes refuse it; make "
                "a release with a higher --serial"
            )


def lacking(checked: CheckedRelease, nodes: Iterable[FleetNode]) -> list[str]:
    """Names of the nodes whose model has a precision now that the release does not have."""
    return [node.name for node in nodes if node.precision is not None and node.precision not in checked.precisions]


def _require_file(source: ReleaseSource, name: str, size: int, ordered: str) -> None:
    """Raises ReleaseRefused for a file of another size or content than was signed."""
    content = read_whole(source, name, size)
    if len(content) < size or hashlib.sha256(content).hexdigest() != ordered:
        raise ReleaseRefused(f"{name} of the release has another content than the signed one: make the release again")

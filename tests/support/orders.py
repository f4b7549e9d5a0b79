"""Orders of releases for a group of nodes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from edge_emotion.system.atomic_file import sha256
from edge_emotion.updates.description import DESCRIPTION, parse_release
from edge_emotion.wire.model_order import ModelOrder, OrderedRelease

RELEASE = OrderedRelease(name="tiny", version="1.0.0", serial=7, sha256="ab" * 32)


def make_order(**changes: Any) -> ModelOrder:
    """An order that is valid for a day, for all nodes of the group ``cafes``, with these fields changed."""
    expires = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(days=1)
    fields: dict[str, Any] = {
        "group": "cafes",
        "serial": 1,
        "action": "install",
        "release": RELEASE,
        "source": "https://releases.example/tiny-7",
        "percent": 100,
        "expires": expires,
    }
    return ModelOrder(**{**fields, **changes})


def order_of(release: Path, address: str | None = None, **changes: Any) -> ModelOrder:
    """An order of the release in a folder, which lies there or below ``address``."""
    made = parse_release((release / DESCRIPTION).read_bytes())
    ordered = OrderedRelease(
        name=made.name, version=made.version, serial=made.serial, sha256=sha256(release / DESCRIPTION)
    )
    source = str(release) if address is None else f"{address}/{release.name}"
    return make_order(**{"release": ordered, "source": source, **changes})

"""Orders of releases for a group of nodes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

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

"""The differences between two settings, and those that a running daemon can apply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from edge_emotion.config.merge import merged, nested
from edge_emotion.config.section import Section
from edge_emotion.config.settings import Settings

LIVE: dict[str, tuple[str, ...]] = {
    "classifier": ("classes", "operating_point", "interval"),
    "detector": ("idle_interval", "refresh_interval", "idle_refresh_interval"),
    "mqtt": ("profile", "heartbeat", "stats_interval", "jitter", "discovery.enabled"),
}
"""Keys of these sections that need no restart."""

LIVE_WHOLE = ("cameras", "tracking", "policy", "quality", "log_level")
"""Sections and keys that need no restart at all."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys with dots, ``applied`` or in need of a ``restart``. ``settings``: the old ones with the applied changes."""

    applied: tuple[str, ...]
    restart: tuple[str, ...]
    settings: Settings

    def as_dict(self) -> dict[str, list[str]]:
        """Plain JSON values: names of keys, never their values."""
        return {"applied": list(self.applied), "restart": list(self.restart)}


def compare_settings(old: Settings, new: Settings) -> Changes:
    """The changes from ``old`` to ``new``."""
    keys = sorted(_differing(old, new))
    live = {key: getattr(new, key) for key in LIVE_WHOLE}
    live |= {key: _with_live_keys(getattr(old, key), getattr(new, key), LIVE[key]) for key in LIVE}
    applied, restart = (tuple(key for key in keys if _is_live(key) is wanted) for wanted in (True, False))
    return Changes(applied, restart, old.model_copy(update=live))


def _is_live(key: str) -> bool:
    section, _, rest = key.partition(".")
    return section in LIVE_WHOLE or rest in LIVE.get(section, ())


def _with_live_keys(old: Section | None, new: Section | None, keys: tuple[str, ...]) -> Section | None:
    """The old section with these keys of the new one; a section that only one of them has needs a restart."""
    if old is None or new is None:
        return old
    tree: dict[str, Any] = dict(old)
    for key in keys:
        tree = merged(tree, nested(key, attrgetter(key)(new)))
    return type(old).model_validate(tree)


def _differing(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Keys of the values that differ; a camera is one value."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        yield from (f"{path}.{key}" for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    elif isinstance(old, BaseModel) and isinstance(new, BaseModel):
        for key in type(old).model_fields:
            yield from _differing(getattr(old, key), getattr(new, key), f"{path}.{key}" if path else key)
    else:
        yield path

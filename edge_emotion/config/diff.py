"""What differs between two settings, and what of that a running daemon can take over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from edge_emotion.config.settings import Settings

LIVE: dict[str, tuple[str, ...]] = {
    "classifier": ("classes", "operating_point", "interval"),
    "detector": ("idle_interval", "refresh_interval", "idle_refresh_interval"),
    "mqtt": ("heartbeat", "stats_interval", "discovery.enabled"),
}
"""Keys of these sections that need no restart."""

LIVE_WHOLE = ("cameras", "tracking", "policy", "log_level")
"""Sections and keys that need no restart at all."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Keys with dots. ``settings`` are the old ones with all that was ``applied``."""

    applied: tuple[str, ...]
    restart: tuple[str, ...]
    settings: Settings

    def as_dict(self) -> dict[str, list[str]]:
        """Plain JSON values: names of keys, never what they hold."""
        return {"applied": list(self.applied), "restart": list(self.restart)}


def compare(old: Settings, new: Settings) -> Changes:
    """What ``new`` brings."""
    keys = sorted(_differing(old, new))
    merged = old.model_copy(update={key: getattr(new, key) for key in LIVE_WHOLE})
    merged = merged.model_copy(update={key: _merged(getattr(old, key), getattr(new, key), LIVE[key]) for key in LIVE})
    return Changes(tuple(key for key in keys if _is_live(key)), tuple(key for key in keys if not _is_live(key)), merged)


def _is_live(key: str) -> bool:
    section, _, rest = key.partition(".")
    return section in LIVE_WHOLE or rest in LIVE.get(section, ())


def _merged(old: Any, new: Any, keys: tuple[str, ...]) -> Any:
    """A section with some keys of the new one."""
    if old is None or new is None:
        return old
    for key in keys:
        first, _, rest = key.partition(".")
        value = _merged(getattr(old, first), getattr(new, first), (rest,)) if rest else getattr(new, first)
        old = old.model_copy(update={first: value})
    return old


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

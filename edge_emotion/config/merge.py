"""Merging settings: one nested mapping over another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def merged(below: Mapping[str, Any] | BaseModel, above: Mapping[str, Any]) -> dict[str, Any]:
    """``above`` over ``below``: what is a mapping or a model in both is merged key by key, all else is replaced."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, (Mapping, BaseModel))
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def nested(key: str, value: Any) -> dict[str, Any]:
    """``mqtt.host`` and a value as ``{"mqtt": {"host": value}}``."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)

"""The base of the parts of the settings, forms of their values, and files that hold a secret."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edge_emotion.errors import ConfigError
from edge_emotion.system.paths import expand


class Section(BaseModel):
    """Base of every part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def as_text(value: object) -> object:
    """A number that YAML made of a text, as it was written."""
    if isinstance(value, bool):
        raise ValueError("YAML reads yes, no, on and off as true and false: quote a text")
    if not isinstance(value, (int, float)):
        return value
    return getattr(value, "written", None) or str(value)


def listed(value: object) -> object:
    """``happy, sad`` as a list."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def read_secret(key: str, file: Path) -> str:
    """The text of the file that the setting ``key`` names, without its last line break. Raises ConfigError."""
    try:
        return expand(file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{key} {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key} {file}: it is no text in UTF-8") from error

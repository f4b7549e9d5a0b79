"""The base of the parts of the settings, and files that hold a secret."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from edge_emotion.errors import ConfigError
from edge_emotion.system.paths import expand


class Section(BaseModel):
    """Base of every part of the tree."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_secret(key: str, file: Path) -> str:
    """The text of the file that the setting ``key`` names, without its last line break. Raises ConfigError."""
    try:
        return expand(file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"{key} {file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{key} {file}: it is no text in UTF-8") from error

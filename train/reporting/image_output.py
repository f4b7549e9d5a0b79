"""Files that a command makes for people to look at."""

from __future__ import annotations

from pathlib import Path

import cv2

from edge_emotion.errors import ConfigError
from edge_emotion.models.preprocess import Pixels


def ready_folder(path: Path) -> Path:
    """The folder, made where it is missing. Raises ConfigError when it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {path}: {error.strerror}; give another --out") from error
    return path


def png(image: Pixels) -> bytes:
    """An H x W or H x W x 3 (BGR) picture as the content of a PNG file."""
    return bytes(cv2.imencode(".png", image)[1])


def safe_name(name: str) -> str:
    """A file name that every file system takes."""
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)

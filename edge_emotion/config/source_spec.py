"""The kinds of a camera's ``source`` setting."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from edge_emotion.system.image_header import is_picture_file
from edge_emotion.system.paths import expand

SourceKind = Literal["device", "stream", "pipeline", "picamera2", "images", "video"]

IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".pgm",
    ".ppm",
    ".avif",
    ".heic",
)
"""Lower-case endings of pictures; what a file is, its content decides. A GIF is a video."""

_URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PICAMERA2 = re.compile(r"picamera2(?::([0-9]+))?")


def classify_source(source: int | str) -> SourceKind:
    """The kind of adapter for a ``source`` setting. Checks the file system, opens nothing.

    A number is a device; ``" !"`` makes a GStreamer pipeline; ``scheme://`` a stream; a folder, a pattern with
    ``* ? [`` or a picture's ending are images; whatever is left is a video file, existing or not.
    """
    if isinstance(source, int) or re.fullmatch(r"[0-9]+", source) or source.startswith("/dev/"):
        return "device"
    if " !" in source:
        return "pipeline"
    if _PICAMERA2.fullmatch(source):
        return "picamera2"
    if _URL.match(source):
        return "stream"
    return "images" if _names_images(source) else "video"


def may_be_picture(path: Path) -> bool:
    """True for a file that begins as a picture, and for one that is only named like one: reading it names the fault."""
    return is_picture_file(path) or (path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def is_one_picture(source: int | str) -> bool:
    """True for the file of one picture, which has emotions but no course of time."""
    return classify_source(source) == "images" and os.path.isfile(expand(str(source)))  # noqa: PTH113 - as below


def device_path(source: int | str) -> str:
    """The path of a device that is given by its number, or by its path."""
    return f"/dev/video{source}" if re.fullmatch(r"[0-9]+", str(source)) else str(source)


def picamera2_index(source: str) -> int:
    """Get the camera's number: ``picamera2`` is 0, ``picamera2:1`` is 1. Raises ValueError for anything else."""
    match = _PICAMERA2.fullmatch(source)
    if match is None:
        raise ValueError(f"expected picamera2 or picamera2:NUMBER, not {source!r}")
    return int(match[1] or 0)


def _names_images(source: str) -> bool:
    if not source:
        return False
    path = expand(source)
    # Not pathlib's: where a folder on the way is closed to us, it raises PermissionError.
    if os.path.isdir(path):  # noqa: PTH112
        return True
    if os.path.isfile(path):  # noqa: PTH113
        return may_be_picture(path) and path.suffix.lower() != ".gif"
    return path.suffix.lower() in IMAGE_SUFFIXES or any(character in source for character in "*?[")

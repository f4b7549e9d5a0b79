"""What a camera's ``source`` setting means, and how it may be shown to people."""

from __future__ import annotations

import os
import re
from typing import Literal

from edge_emotion.system.paths import expand

SourceKind = Literal["device", "stream", "pipeline", "picamera2", "images", "video"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
"""Lower-case endings of the pictures that can be read."""

_URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_PICAMERA2 = re.compile(r"picamera2(?::([0-9]+))?")
_USER_INFO = re.compile(r"(?<=://)[^\s\"']*@")
# Camera makers also carry credentials as key=value, joined by & or _ (user=admin_password=x_channel=1).
_SECRET = re.compile(
    r"""(?<![a-z])((?:user|usr|login|pass|psw|pwd|token|secret|auth|key)[a-z-]*=)
        (?: "[^"]*" | '[^']*' | (?:(?!_[a-z]+=)[^&\s;"'])* )""",
    re.IGNORECASE | re.VERBOSE,
)


def classify_source(source: int | str) -> SourceKind:
    """Tell the kind of adapter that a ``source`` setting asks for. Looks at the file system, opens nothing.

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


def device_path(source: int | str) -> str:
    """The path of a device that is given by its number, or by its path."""
    return f"/dev/video{source}" if re.fullmatch(r"[0-9]+", str(source)) else str(source)


def picamera2_index(source: str) -> int:
    """Get the camera's number: ``picamera2`` is 0, ``picamera2:1`` is 1. Raises ValueError for anything else."""
    match = _PICAMERA2.fullmatch(source)
    if match is None:
        raise ValueError(f"expected picamera2 or picamera2:NUMBER, not {source!r}")
    return int(match[1] or 0)


def redact(source: int | str) -> str:
    """Make ``source`` fit for logs and messages: credentials, in a URL or as key=value, become ``***``."""
    return _SECRET.sub(r"\1***", _USER_INFO.sub("***@", str(source)))


def _names_images(source: str) -> bool:
    if not source:
        return False
    path = expand(source)
    # Not pathlib's: where a folder on the way is closed to us, it raises PermissionError.
    if os.path.isdir(path) or path.suffix.lower() in IMAGE_SUFFIXES:  # noqa: PTH112
        return True
    return not os.path.isfile(path) and any(character in source for character in "*?[")  # noqa: PTH113

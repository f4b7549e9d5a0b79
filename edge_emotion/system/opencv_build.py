"""Features of the installed OpenCV build."""

from __future__ import annotations

import re
from functools import cache

import cv2


def has_gstreamer() -> bool:
    """True if this OpenCV can open GStreamer pipelines."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None


def reads_pictures(kind: str) -> bool:
    """True if this OpenCV has a reader for pictures of a kind of ``image_header.picture_kind``."""
    if kind in ("AVIF", "GIF"):
        return re.search(rf"^\s*{kind}:\s+(?!NO\b)\S", _information(), re.MULTILINE) is not None
    return kind != "HEIC"


@cache
def _information() -> str:
    return str(cv2.getBuildInformation())

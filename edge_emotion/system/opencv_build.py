"""Features of the installed OpenCV build. What it logs, our own errors say in one line: its log is off."""

from __future__ import annotations

import os
import re
from functools import cache

import cv2

if "OPENCV_LOG_LEVEL" not in os.environ:
    # OpenCV 4.10 has it here, 4.14 there.
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)


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

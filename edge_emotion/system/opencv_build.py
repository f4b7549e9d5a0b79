"""Features of the installed OpenCV build."""

from __future__ import annotations

import re

import cv2


def has_gstreamer() -> bool:
    """True if this OpenCV can open GStreamer pipelines."""
    return re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()) is not None

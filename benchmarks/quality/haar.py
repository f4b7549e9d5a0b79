"""OpenCV's frontal face cascade (Viola and Jones 2001), the default detector of ``fer``: to compare ours with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import cv2.data

from edge_emotion.datatypes import Box, Face, Image

NAME = "haar"
FILE = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
STEP, NEIGHBOURS = 1.1, 5
"""Ratio of two sizes that are searched, and least number of neighbours, as ``fer`` sets them."""


class HaarDetector:
    """Faces of at least ``min_size`` pixels; all have the score 1, because the cascade gives none."""

    def __init__(self, min_size: int) -> None:
        self._cascade, self._least = cv2.CascadeClassifier(str(FILE)), (min_size, min_size)

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture."""
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        boxes = self._cascade.detectMultiScale(grey, STEP, NEIGHBOURS, minSize=self._least)
        return [Face(Box(*map(float, box)), 1.0) for box in boxes]


def file_of_cascade() -> dict[str, str]:
    """Name and sha256 of the cascade's file."""
    return {f"{NAME}: {FILE.name}": hashlib.sha256(FILE.read_bytes()).hexdigest()}

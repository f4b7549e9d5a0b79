"""Measures how FER2013 frames a face, in terms of the detector's box: the crop that the runtime then uses.

Training faces are put into a larger picture, detected, and the pasted square is compared with the detected box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.protocols import FaceDetector
from train.data.faces import DataError, Faces

FRAME = 480, 640
"""Height and width of the picture that a face is put into."""

SIZES = 100, 221
"""Sides in pixels of the pasted faces, the second excluded."""


@dataclass(frozen=True)
class Framing:
    """Median and spread (half the distance of the quartiles) of margin and shift; see CropSpec."""

    n: int
    found: int
    margin: float
    margin_spread: float
    shift: float
    shift_spread: float


def place(face: npt.NDArray[np.uint8], size: int, left: int, top: int) -> Image:
    """A face crop, grey or BGR, as a square of ``size`` pixels in a 480 x 640 BGR picture; its edge goes on."""
    square = cv2.resize(face, (size, size), interpolation=cv2.INTER_CUBIC)
    height, width = FRAME
    around = cv2.copyMakeBorder(square, top, height - top - size, left, width - left - size, cv2.BORDER_REPLICATE)
    return np.asarray(cv2.cvtColor(around, cv2.COLOR_GRAY2BGR) if around.ndim == 2 else around, np.uint8)


def paste(face: npt.NDArray[np.uint8], generator: np.random.Generator) -> tuple[Image, Box]:
    """A face crop at a random place and size in a picture (see ``place``), and where it lies there."""
    size = int(generator.integers(*SIZES))
    left, top = int(generator.integers(0, FRAME[1] - size)), int(generator.integers(0, FRAME[0] - size))
    return place(face, size, left, top), Box(left, top, size, size)


def measure_framing(faces: Faces, detector: FaceDetector, *, count: int, seed: int) -> Framing:
    """Detect ``count`` random faces, each pasted into a picture, and compare squares with boxes.

    Raises DataError when none is found.
    """
    generator = np.random.default_rng(seed)
    samples = []
    chosen = generator.choice(len(faces), size=min(count, len(faces)), replace=False)
    for row in chosen:
        picture, square = paste(faces.images[row], generator)
        found = detector.detect(picture)
        if found:
            samples.append(_compare(found[0], square))
    require_found(len(samples), len(chosen))
    table = np.array(samples)
    (margin, shift), quartiles = np.median(table, axis=0), np.quantile(table, (0.25, 0.75), axis=0)
    spread = (quartiles[1] - quartiles[0]) / 2
    return Framing(len(chosen), len(table), *map(float, (margin, spread[0], shift, spread[1])))


def require_found(found: int, of: int) -> None:
    """Raises DataError if a detector has found none of so many pasted faces: nothing can be measured then."""
    if not found:
        raise DataError(f"the detector finds none of {of} pasted faces: take another --detector, or check the pictures")


def _compare(face: Face, square: Box) -> tuple[float, float]:
    """Margin and shift that would turn this box into the pasted square."""
    box = max(face.box.width, face.box.height)
    right, down = (there - here for there, here in zip(square.centre, face.box.centre, strict=True))
    along_face = down * math.cos(face.roll) - right * math.sin(face.roll)
    return (square.width / box - 1) / 2, along_face / box

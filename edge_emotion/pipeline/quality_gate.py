"""Whether the picture of a face is good enough to name its emotion, from measures of its crop and its points.

The limits were chosen on the validation split of FER+ by risk and coverage: docs/results/quality-gate.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from edge_emotion.datatypes import Face
from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import to_pixel_range
from edge_emotion.pipeline.face_quality import yaw
from edge_emotion.protocols import FloatArray

SIDE = 48
"""Pixels of a crop in which it is measured."""

DARK = 30.0
"""Mean of a crop (0..255) below which a face is dark."""

BLURRED = 0.51
"""Contrast within 2 x 2 pixels, relative to that between them within 4 x 4, below which a face is blurred."""

FLAT_EYES, FLAT_MOUTH = 0.05, 0.09
"""Contrast along the flattest three rows of eyes and of mouth, relative to the mean, below which they are hidden."""

EYE_ROWS, MOUTH_ROWS, MIDDLE = slice(2, 24), slice(26, 44), slice(3, 9)
"""First rows of the three, in FER2013's framing, and the columns of a face, each a twelfth of the crop."""

MAX_YAW, MAX_ROLL = 1.4, math.radians(60)
"""A face is turned if its nose tip lies further to the side, in half distances of the eyes, or its eyes are steeper."""

SMALL = 24.0
"""Longer side of the box in pixels below which a face is small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededConfidence:
    """Least probability (0..1) of an emotion that is named in spite of a doubt; 0 ignores it."""

    dark: float = 0.0
    blurred: float = 0.0
    turned: float = 0.0
    hidden_eyes: float = 0.0
    hidden_mouth: float = 0.0
    small: float = 0.0


class Doubt(NamedTuple):
    """Why a picture of a face is not relied on, and the probability (0..1) from which on an emotion is named still."""

    reason: str
    confidence: float


class CropMeasures(NamedTuple):
    """Measures of one crop: see the limits of this module."""

    light: float
    sharpness: float
    eyes: float
    mouth: float


class QualityGate:
    """Finds faces that are small, dark, blurred, turned or hidden, from crops for a model with input ``spec``."""

    def __init__(self, needed: NeededConfidence, spec: InputSpec) -> None:
        self._needed, self._spec = needed, spec

    def doubts(self, crops: FloatArray, faces: Sequence[Face]) -> list[Doubt | None]:
        """The doubt about each of N faces, None for a good one; ``crops`` are N x H x W x C.

        Of several, the first gives the reason, and the one that needs most confidence the confidence.
        """
        return [
            self._doubt(face, measure_crop(grey_crop(crop, self._spec)))
            for face, crop in zip(faces, crops, strict=True)
        ]

    def _doubt(self, face: Face, crop: CropMeasures) -> Doubt | None:
        needed = self._needed
        found = (
            (max(face.box.width, face.box.height) < SMALL, Doubt("small", needed.small)),
            (crop.light < DARK, Doubt("dark", needed.dark)),
            (crop.sharpness < BLURRED, Doubt("blurred", needed.blurred)),
            (yaw(face) > MAX_YAW or abs(face.roll) > MAX_ROLL, Doubt("turned", needed.turned)),
            (crop.eyes < FLAT_EYES, Doubt("hidden", needed.hidden_eyes)),
            (crop.mouth < FLAT_MOUTH, Doubt("hidden", needed.hidden_mouth)),
        )
        doubts = [doubt for is_so, doubt in found if is_so and doubt.confidence > 0]
        return Doubt(doubts[0].reason, max(doubt.confidence for doubt in doubts)) if doubts else None


def grey_crop(crop: FloatArray, spec: InputSpec) -> FloatArray:
    """Model input, H x W x C, as grey levels 0..255, SIDE x SIDE."""
    grey = crop[:, :, 0] if spec.channels == 1 else crop.mean(axis=2)
    return to_pixel_range(_area(grey, SIDE, SIDE), spec)


def measure_crop(grey: FloatArray) -> CropMeasures:
    """Measures of SIDE x SIDE grey levels.

    The variance within blocks is that of the pixels less that of the means of the blocks.
    """
    two = _area(grey, SIDE // 2, SIDE // 2)
    light, variance = _mean_and_variance(grey)
    (_, of_two), (_, of_four) = _mean_and_variance(two), _mean_and_variance(_area(two, SIDE // 4, SIDE // 4))
    fine, coarse = math.sqrt(max(variance - of_two, 0)), math.sqrt(max(of_two - of_four, 0))
    steps = np.diff(_area(grey, SIDE // 4, SIDE)[:, MIDDLE])
    contrast = np.abs(steps[:-2] + steps[1:-1] + steps[2:]).mean(axis=1) / 3
    usual = float(contrast.mean()) + 0.5  # half a grey level: nothing is flat in a crop that is black
    eyes, mouth = (float(contrast[rows].min()) / usual for rows in (EYE_ROWS, MOUTH_ROWS))
    return CropMeasures(light, fine / (coarse + 0.5), eyes, mouth)


def _mean_and_variance(values: FloatArray) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(values)
    return mean.item(), deviation.item() ** 2


def _area(image: FloatArray, width: int, height: int) -> FloatArray:
    """H x W grey levels in another size, each the mean of its area."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)

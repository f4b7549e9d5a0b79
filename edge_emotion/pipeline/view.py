"""A camera as it hangs: its picture turned, mirrored, cut and masked, and the named zones in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Image

Flip = Literal["none", "horizontal", "vertical"]
Polygon = tuple[tuple[float, float], ...]
"""Corners (x, y) in fractions of the picture, at least three."""

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
"""Degrees clockwise."""

FLIPS = {"horizontal": 1, "vertical": 0}


@dataclass(frozen=True)
class View:
    """How the pictures of a camera are seen.

    ``rotate`` is in degrees clockwise, then ``flip`` mirrors, then ``crop`` (left, top, right, bottom) cuts, in
    fractions of the picture as it is by then. ``mask`` is blackened and ``zones`` are named, in fractions of what is
    left, in which the boxes of events are, too.
    """

    rotate: int = 0
    flip: Flip = "none"
    crop: tuple[float, float, float, float] | None = None
    mask: tuple[Polygon, ...] = ()
    zones: Mapping[str, Polygon] = field(default_factory=dict)

    def apply(self, image: Image) -> Image:
        """An H x W x 3 picture as it is seen; the given one is not changed."""
        if self.rotate:
            image = np.asarray(cv2.rotate(image, TURNS[self.rotate]), np.uint8)
        if self.flip != "none":
            image = np.asarray(cv2.flip(image, FLIPS[self.flip]), np.uint8)
        if self.crop is not None:
            image = _cut(image, self.crop)
        if self.mask:
            image = image.copy()
            for polygon in self.mask:
                cv2.fillPoly(image, [_pixels(polygon, image)], (0, 0, 0))
        return image

    def turned(self, rotate: int) -> View:
        """The same view of a camera that hangs otherwise."""
        return replace(self, rotate=rotate)

    def zone(self, box: Box) -> str | None:
        """The first zone that holds the middle of a box, in fractions of the picture; None if there is none."""
        return next((name for name, polygon in self.zones.items() if _holds(polygon, box.centre)), None)


def _cut(image: Image, crop: tuple[float, float, float, float]) -> Image:
    height, width = image.shape[:2]
    left, top = min(round(crop[0] * width), width - 1), min(round(crop[1] * height), height - 1)
    right, bottom = max(round(crop[2] * width), left + 1), max(round(crop[3] * height), top + 1)
    return np.ascontiguousarray(image[top:bottom, left:right])


def _pixels(polygon: Polygon, image: Image) -> npt.NDArray[np.int32]:
    corners = np.rint(np.array(polygon) * (image.shape[1], image.shape[0]))
    return np.asarray(corners, np.int32)


def _holds(polygon: Polygon, point: tuple[float, float]) -> bool:
    corners = np.array(polygon, np.float32)
    return cv2.pointPolygonTest(corners, point, measureDist=False) >= 0

"""Detector that imitates face following: each face is found again near its last position, as in most daemon frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_emotion.datatypes import Face, Image
from edge_emotion.pipeline.following import FaceFollower
from edge_emotion.protocols import FaceDetector

ASIDE = 0.2
"""Largest displacement of a face since the last frame, in sides of its box, along x and y, detector jitter included."""


class FollowedDetector:
    """A detector whose faces are each followed once, from a displaced box; those not found again are left out."""

    def __init__(self, detector: FaceDetector, follower: FaceFollower, *, seed: int) -> None:
        self._detector, self._follower = detector, follower
        self._generator = np.random.default_rng(seed)

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, as the follower finds them."""
        found: list[Face] = []
        for face in self._detector.detect(image):
            side = max(face.box.width, face.box.height)
            before = face.moved(*(side * self._generator.uniform(-ASIDE, ASIDE, 2)))
            found += self._follower.follow(image, [before]) or ()
        return found

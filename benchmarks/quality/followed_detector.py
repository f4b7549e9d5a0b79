"""Faces as the daemon finds them in most frames: again, around their last place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_emotion.datatypes import Face, Image
from edge_emotion.pipeline.following import FaceFollower
from edge_emotion.protocols import FaceDetector

ASIDE = 0.2
"""Sides of its box that a face has moved since, at most, along x and y; the detector's own unsteadiness is in it."""


class Followed:
    """A detector whose faces are followed once: each is looked for from a place aside. Who is not found is left out."""

    def __init__(self, detector: FaceDetector, follower: FaceFollower, *, seed: int) -> None:
        self._detector, self._follower = detector, follower
        self._generator = np.random.default_rng(seed)

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, where the follower finds them."""
        found: list[Face] = []
        for face in self._detector.detect(image):
            side = max(face.box.width, face.box.height)
            before = face.moved(*(side * self._generator.uniform(-ASIDE, ASIDE, 2)))
            found += self._follower.follow(image, [before]) or ()
        return found

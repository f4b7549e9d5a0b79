"""Which way up a camera hangs, told from the faces in its pictures."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from edge_emotion.datatypes import Image
from edge_emotion.pipeline.view import View
from edge_emotion.protocols import FaceDetector

log = logging.getLogger(__name__)

ANGLES = (0, 90, 180, 270)
INTERVAL = 1.0
"""Seconds between two comparisons of the four rotations, while it is not decided."""

VOTES = 6
"""Pictures with a clear answer until it is decided."""

MAJORITY = 5
"""Of these, so many at least must agree; otherwise counting begins again."""

MARGIN = 0.1
"""A rotation wins a picture if the scores of its faces exceed those of every other one by this share."""


class UprightVote:
    """Decides the rotation of one camera: faces are detected with higher scores when they are upright.

    ``camera`` is its name, for the line in the log that gives the setting.
    """

    def __init__(self, camera: str, detector: FaceDetector) -> None:
        self._camera, self._detector = camera, detector
        self._votes: Counter[int] = Counter()
        self._looked = float("-inf")
        self.decided: int | None = None

    def update(self, image: Image, timestamp: float, view: View) -> int | None:
        """The rotation of the camera once it is clear, else None.

        image: H x W x 3 as it comes from the camera. All rotations are tried once a second.
        """
        if self.decided is None and not 0 <= timestamp - self._looked < INTERVAL:
            self._looked = timestamp
            winner = winning_rotation(lambda angle: self._score(view.turned(angle).apply(image)))
            if winner is not None:
                self._count(winner)
        return self.decided

    def _score(self, image: Image) -> float:
        """Upright faces have their eyes level: a roll of more than 45 degrees is no vote for a rotation."""
        return sum(face.score for face in self._detector.detect(image) if abs(face.roll) < 0.8)

    def _count(self, winner: int) -> None:
        self._votes[winner] += 1
        if self._votes.total() < VOTES:
            return
        (angle, votes), *_ = self._votes.most_common()
        self._votes.clear()
        if votes < MAJORITY:
            return
        self.decided = angle
        if angle:
            log.warning(
                "camera %s: faces are upright when its picture is turned by %d degrees, so it is; set "
                "cameras.%s.rotate: %d", self._camera, angle, self._camera, angle,
            )  # fmt: skip
        else:
            log.info("camera %s hangs upright", self._camera)


def winning_rotation(score: Callable[[int], float]) -> int | None:
    """The rotation with the highest score of all; None if there is no face or no clear winner."""
    scores = {angle: score(angle) for angle in ANGLES}
    best = max(ANGLES, key=lambda angle: scores[angle])
    others = max(scores[angle] for angle in ANGLES if angle != best)
    return best if scores[best] > others * (1 + MARGIN) else None

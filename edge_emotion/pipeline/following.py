"""Re-finding tracked faces with a short-range detector on squares around them, not in the whole picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from operator import itemgetter

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.protocols import FaceDetector

SEARCH_RATIO = 2.2
"""Side of the searched square in sides of the face's last box, rounded by at most a factor of the square root of two:
a face may move by at least a quarter of its side."""

MAX_FOLLOWED = 4
"""Most faces that are followed at once; with more, a detection in the whole picture costs hardly more."""

MIN_IOU = 0.2
"""Least overlap (intersection over union) of the last and the new box of a face; less may be another face."""

MAX_IOU_BETWEEN_FACES = 0.3
"""Two boxes that overlap by more than this (intersection over union) may be one face that was found twice."""


class FaceFollower:
    """Finds tracked faces again in the next picture of the same camera, with a short-range detector.

    The detector gets squares whose side is ``size``, its input in pixels, times a power of two: they shrink by halving.
    """

    def __init__(self, detector: FaceDetector, size: int) -> None:
        self._detector, self._size = detector, size

    def follow(self, image: Image, known: Sequence[Face]) -> Sequence[Face] | None:
        """The faces ``known`` as they are now in an H x W x 3 BGR picture, in their order.

        None if any of them is not certain: there are too many, one is not near its last position, or two of them may
        now be one. New faces are not searched.
        """
        if len(known) > MAX_FOLLOWED:
            return None
        found = []
        for face in known:
            now = self.refine(image, face.box)
            if now is None:
                return None
            found.append(now)
        if any(one.box.iou(other.box) > MAX_IOU_BETWEEN_FACES for one, other in combinations(found, 2)):
            return None
        return found

    def refine(self, image: Image, box: Box) -> Face | None:
        """The face in the square around a box with the largest overlap with it; None if that is below MIN_IOU."""
        wanted = SEARCH_RATIO * max(box.width, box.height) / self._size
        side = int(self._size * 2 ** round(math.log2(max(wanted, 1.0))))
        height, width = image.shape[:2]
        axes = zip(box.centre, (width, height), strict=True)
        left, top = (max(min(int(middle - side / 2), whole - side), 0) for middle, whole in axes)
        part = image[top : top + side, left : left + side]
        faces = (face.moved(left, top) for face in self._detector.detect(part))
        overlap, best = max(((face.box.iou(box), face) for face in faces), key=itemgetter(0), default=(0.0, None))
        return best if overlap >= MIN_IOU else None

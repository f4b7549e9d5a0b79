"""Looking for faces where they were: a small detector on squares around them instead of a large one on everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from operator import itemgetter

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.protocols import FaceDetector

REACH = 2.2
"""Side of the square that is searched, in sides of the face's last box, at most by a factor of the square root of two
more or less: a face may move by a quarter of its side, or more."""

MOST = 4
"""Faces that are followed at once; for more, a look at the whole picture by a larger detector costs hardly more."""

SAME_FACE = 0.2
"""Least overlap (intersection over union) of a face's boxes then and now; less may be a neighbour."""

SAME_PLACE = 0.3
"""Two faces whose boxes overlap by more than this may be one that was found twice."""


class FaceFollower:
    """Finds known faces again in the next picture of the same camera, with a detector of close faces.

    The detector is given squares of ``size`` pixels, its own input, times a power of two, which are shrunk by halving.
    """

    def __init__(self, detector: FaceDetector, size: int) -> None:
        self._detector, self._size = detector, size

    def follow(self, image: Image, known: Sequence[Face]) -> Sequence[Face] | None:
        """Where each of ``known`` is now in an H x W x 3 BGR picture, in their order.

        None if that cannot be said for every one of them: there are too many, one is not near its last place, or two
        may have become one. Faces that are not known are not looked for.
        """
        if len(known) > MOST:
            return None
        found = []
        for face in known:
            now = self.refine(image, face.box)
            if now is None:
                return None
            found.append(now)
        if any(one.box.iou(other.box) > SAME_PLACE for one, other in combinations(found, 2)):
            return None
        return found

    def refine(self, image: Image, box: Box) -> Face | None:
        """The face in the square around a box that overlaps the box best; None if none does by SAME_FACE."""
        wanted = REACH * max(box.width, box.height) / self._size
        side = int(self._size * 2 ** round(math.log2(max(wanted, 1.0))))
        height, width = image.shape[:2]
        axes = zip(box.centre, (width, height), strict=True)
        left, top = (max(min(int(middle - side / 2), whole - side), 0) for middle, whole in axes)
        part = image[top : top + side, left : left + side]
        faces = (face.moved(left, top) for face in self._detector.detect(part))
        overlap, best = max(((face.box.iou(box), face) for face in faces), key=itemgetter(0), default=(0.0, None))
        return best if overlap >= SAME_FACE else None

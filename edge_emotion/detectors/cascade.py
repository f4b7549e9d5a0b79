"""Two detectors in a row: a fast one proposes faces, one of close faces confirms each and gives its landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from edge_emotion.datatypes import Face, Image
from edge_emotion.models.preprocess import brightness, lightened
from edge_emotion.protocols import FaceDetector, FaceRefiner

ALONE = 1.2
"""Times the threshold: from this score on a proposal counts although the second detector does not confirm it."""

PROPOSED = 0.6
"""Times the threshold: the least score of a proposal."""

SAME_PLACE = 0.3
"""Two faces whose boxes overlap by more than this (intersection over union) are one that was found twice."""


DARK = 45.0
"""Brightness (0 to 255) under which a picture is lightened, and the answer is unsure."""


class Proposed(NamedTuple):
    """What a cascade has found, and whether a slower detector should look, too."""

    faces: tuple[Face, ...]
    unsure: bool


class CascadeDetector:
    """Faces that ``proposer`` sees and ``refiner`` confirms, as the latter sees them.

    A proposal with a score of ``alone`` or more counts without that: it then has no landmarks. A picture that is darker
    than the proposer is made for, or a proposal that nobody confirms, makes the answer unsure.
    """

    def __init__(
        self, proposer: FaceDetector, refiner: FaceRefiner, *, alone: float, min_size: int = 0, max_faces: int = 64
    ) -> None:
        self.proposer, self._refiner = proposer, refiner
        self._alone, self._min_size, self._max_faces = alone, min_size, max_faces

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, best score first, in its pixels."""
        return self.propose(image).faces

    def propose(self, image: Image) -> Proposed:
        """As ``detect``, with whether that is sure."""
        found: list[Face] = []
        light = brightness(image)
        unsure = light < DARK
        if unsure:
            image = lightened(image, light)
        for proposal in self.proposer.detect(image)[: self._max_faces]:
            face = self._refiner.refine(image, proposal.box)
            unsure |= face is None
            if face is None and proposal.score >= self._alone:
                face = proposal
            if face is not None and not any(face.box.iou(other.box) > SAME_PLACE for other in found):
                found.append(face)
        large = (face for face in found if max(face.box.width, face.box.height) >= self._min_size)
        return Proposed(tuple(sorted(large, key=lambda face: face.score, reverse=True)), unsure)

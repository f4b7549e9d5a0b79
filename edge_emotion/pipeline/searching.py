"""Where faces are looked for in a frame: around known ones, quickly in the whole picture, or thoroughly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from edge_emotion.datatypes import Face, Image
from edge_emotion.pipeline.following import MAX_IOU_BETWEEN_FACES, MIN_IOU, FaceFollower
from edge_emotion.protocols import FaceDetector


class Proposals(Protocol):
    """What a quick search has found, and whether a thorough one should follow."""

    @property
    def faces(self) -> Sequence[Face]:
        """Best score first."""

    @property
    def unsure(self) -> bool:
        """True if faces may have been missed."""


class QuickDetector(Protocol):
    """A fast detector whose result shows whether faces may have been missed."""

    def propose(self, image: Image) -> Proposals:
        """Faces in an H x W x 3 BGR picture, and whether some may have been missed."""


class Known(NamedTuple):
    """The tracked faces: ``steady`` are all of them if each was seen in the last frame, else none; ``all`` of them."""

    steady: Sequence[Face] = ()
    all: Sequence[Face] = ()


class FaceSearch:
    """Finds the faces of each frame of one camera with as little work as is enough.

    Faces that are all steady are re-found by the ``follower``. Otherwise the ``quick`` detector searches the whole
    picture, if there is one, and the ``detector`` only when the last such search is ``refresh_interval`` seconds ago
    (``idle_refresh_interval`` while there is no track), when the quick one is unsure, and when a known face is missing.
    With ``keep_known`` the follower looks for known faces that a thorough search misses, as one of tiles does.
    """

    def __init__(
        self,
        detector: FaceDetector,
        follower: FaceFollower | None = None,
        quick: QuickDetector | None = None,
        *,
        refresh_interval: float,
        idle_refresh_interval: float = 0.0,
        keep_known: bool = False,
    ) -> None:
        self._detector, self._follower, self._quick = detector, follower, quick
        self._keep_known = keep_known
        self._refresh = refresh_interval
        self._idle_refresh = max(idle_refresh_interval, refresh_interval) if refresh_interval else 0.0
        self._looked_everywhere = self._lost = -math.inf

    def find(self, image: Image, timestamp: float, known: Known) -> Sequence[Face]:
        """The faces of an H x W x 3 BGR picture.

        After a face could not be followed none is for a while: looking twice in every frame would cost most.
        """
        may_follow = self._recent(self._looked_everywhere, timestamp) and not self._recent(self._lost, timestamp)
        if self._follower is not None and may_follow and known.steady:
            faces = self._follower.follow(image, known.steady)
            if faces is not None:
                return faces
            self._lost = timestamp
        if self._quick is not None and self._follower is not None:
            quick = self._search_quickly(self._quick, self._follower, image, timestamp, known.all)
            if quick is not None:
                return quick
        self._looked_everywhere = timestamp
        faces = list(self._detector.detect(image))
        if self._keep_known and self._follower is not None:
            self._add_known(self._follower, image, known.all, faces)
        return faces

    def _search_quickly(
        self, quick: QuickDetector, follower: FaceFollower, image: Image, timestamp: float, known: Sequence[Face]
    ) -> Sequence[Face] | None:
        """The quick detector's faces and the known ones that it misses; None if a thorough search is due instead."""
        interval = self._refresh if known else self._idle_refresh
        if not 0 <= timestamp - self._looked_everywhere < interval:
            return None
        proposed = quick.propose(image)
        if proposed.unsure and not self._recent(self._looked_everywhere, timestamp):
            return None
        faces = list(proposed.faces)
        return faces if self._add_known(follower, image, known, faces) else None

    @staticmethod
    def _add_known(follower: FaceFollower, image: Image, known: Sequence[Face], faces: list[Face]) -> bool:
        """Look for the known faces that are not among ``faces``, and add them; True if none is still missing."""
        complete = True
        for face in missing(known, faces):
            now = follower.refine(image, face.box)
            complete &= now is not None
            if now is not None and all(now.box.iou(other.box) <= MAX_IOU_BETWEEN_FACES for other in faces):
                faces.append(now)
        return complete

    def _recent(self, moment: float, timestamp: float) -> bool:
        return 0 <= timestamp - moment < self._refresh


def missing(known: Sequence[Face], found: Sequence[Face]) -> list[Face]:
    """The known faces that none of those found overlaps."""
    return [face for face in known if all(face.box.iou(other.box) < MIN_IOU for other in found)]

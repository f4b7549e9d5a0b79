"""Faces that never move, as those of portraits and of screens that stand still."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Face, Image, Track

STILL_AFTER = 30.0
"""Seconds without any movement after which a face is a picture."""

INTERVAL = 1.0
"""Seconds between two comparisons of a face with what it was."""

MISSED_FOR = 10.0
"""Seconds for which a face that is not detected may still not have moved."""

SIDE = 24
"""Pixels of the part of a picture that is compared: the grain of a sensor is averaged away, movements are not."""

SAME, LIKE = 0.99, 0.9
"""Least correlation of two such parts if nothing has moved, and if it is still the same picture."""

SAME_PLACE = 0.5
"""Least overlap (IoU) of a face with a picture that it may be."""

MAX_PICTURES = 16
"""Most pictures that are remembered; the one that was not seen for longest is forgotten first."""

Part = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Still:
    """A part of the picture as it was at a time, in monotonic seconds, and when it was last compared."""

    box: Box
    part: Part
    since: float
    compared: float


class StillFaces:
    """Finds out which tracked faces never move, and recognises their pictures from then on."""

    def __init__(self) -> None:
        self._watched: dict[str, Still] = {}
        self._pictures: list[Still] = []

    def forget(self) -> None:
        """Forget everything: the camera sees the room otherwise."""
        self._watched.clear()
        self._pictures.clear()

    def living(self, image: Image, faces: Sequence[Face], timestamp: float) -> list[Face]:
        """The faces of an H x W x 3 picture that are not known as still ones."""
        return [face for face in faces if not self._pictures or not self._is_picture(image, face, timestamp)]

    def newly_still(self, image: Image, tracks: Iterable[Track], timestamp: float) -> list[Track]:
        """The confirmed ones of the tracks that have not moved for STILL_AFTER, which are pictures from now on."""
        watched = {name: one for name, one in self._watched.items() if timestamp - one.compared <= MISSED_FOR}
        watched |= {track.id: self._watch(image, track, timestamp) for track in tracks if track.confirmed}
        still = [name for name, one in watched.items() if timestamp - one.since >= STILL_AFTER]
        self._pictures = [*(watched.pop(name) for name in still), *self._pictures][:MAX_PICTURES]
        self._watched = watched
        return [track for track in tracks if track.id in still]

    def _watch(self, image: Image, track: Track, timestamp: float) -> Still:
        known = self._watched.get(track.id)
        if known is not None and timestamp - known.compared < INTERVAL:
            return known
        if known is not None and likeness(known.part, part_of(image, known.box)) >= SAME:
            return Still(known.box, known.part, known.since, timestamp)
        return Still(track.face.box, part_of(image, track.face.box), timestamp, timestamp)

    def _is_picture(self, image: Image, face: Face, timestamp: float) -> bool:
        """Whether a face is one of the pictures; that one then comes first, as it is now: the light changes slowly."""
        for index, picture in enumerate(self._pictures):
            if picture.box.iou(face.box) >= SAME_PLACE:
                now = part_of(image, picture.box)
                if likeness(picture.part, now) >= LIKE:
                    del self._pictures[index]
                    self._pictures.insert(0, Still(picture.box, now, picture.since, timestamp))
                    return True
        return False


def part_of(image: Image, box: Box) -> Part:
    """SIDE x SIDE grey levels of the part of an H x W x 3 picture in a box, at least one pixel of it."""
    height, width = image.shape[:2]
    left, top = min(max(int(box.x), 0), width - 1), min(max(int(box.y), 0), height - 1)
    right, bottom = max(int(box.x + box.width), left + 1), max(int(box.y + box.height), top + 1)
    small = cv2.resize(image[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small.mean(axis=2, dtype=np.float32))


def likeness(one: Part, other: Part) -> float:
    """Correlation of two parts, -1 to 1, whatever the light; 1 for two that are flat, 0 if one is."""
    (first, second) = (part - part.mean() for part in (one, other))
    lengths = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    if not all(lengths):
        return float(lengths[0] == lengths[1])
    return float((first * second).sum()) / (lengths[0] * lengths[1])

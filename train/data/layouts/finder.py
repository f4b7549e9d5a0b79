"""Cutting the face out of a whole picture as the runtime does: detected, upright, framed by the model's CropSpec."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.models.manifest import CropSpec
from edge_emotion.models.preprocess import Pixels, align
from edge_emotion.protocols import FaceDetector

OVERLAP = 0.3
"""Least intersection over union of a found box and the true one: BlazeFace boxes go from brow to chin."""


class FaceFinder:
    """Finds the face that a picture is about.

    ``make`` gives a detector; it is called once per thread, because interpreters must not be shared between threads,
    and once at the start, so that what is wrong with it is said before pictures are read. ``name`` is for the record.
    """

    def __init__(self, name: str, make: Callable[[], FaceDetector], crop: CropSpec) -> None:
        self.name = name
        self._make = make
        self._crop = crop
        self._local = threading.local()
        self._local.detector = make()

    def cut(self, image: Image, box: Box | None, detail: int) -> Pixels | None:
        """The face as detail x detail x 3 BGR, or None if none is found.

        image: H x W x 3 BGR. The face is the one in ``box``, where the data set gives one, else the largest,
        weighted by how certain the detector is.
        """
        face = chosen_face(self._detector().detect(image), box)
        return None if face is None else align(image, face, self._crop.model_copy(update={"detail": detail}))

    def _detector(self) -> FaceDetector:
        if not hasattr(self._local, "detector"):
            self._local.detector = self._make()
        detector: FaceDetector = self._local.detector
        return detector


def chosen_face(found: Sequence[Face], box: Box | None) -> Face | None:
    """The face that overlaps ``box`` best, if enough; without a box the one with the largest area times score."""
    if box is None:
        return max(found, key=lambda face: face.box.area * face.score, default=None)
    best = max(found, key=lambda face: face.box.iou(box), default=None)
    return best if best is not None and best.box.iou(box) >= OVERLAP else None

"""Cropping the face out of a whole picture as the runtime does: detected, upright, framed by the model's CropSpec."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.models.manifest import CropSpec
from edge_emotion.models.preprocess import Pixels, align
from edge_emotion.protocols import FaceDetector

OVERLAP = 0.3
"""Least intersection over union of a detected box and the true one: BlazeFace's boxes reach from brow to chin."""


class FaceFinder:
    """Finds and crops the main face of a picture.

    ``make`` returns a detector. It is called once per thread, because interpreters must not be shared between threads,
    and once in the constructor, so that a missing model is reported before pictures are read. ``name``: the detector's.
    """

    def __init__(self, name: str, make: Callable[[], FaceDetector], crop: CropSpec) -> None:
        self.name = name
        self._make = make
        self._crop = crop
        self._local = threading.local()
        self._local.detector = make()

    def cut(self, image: Image, box: Box | None, detail: int) -> Pixels | None:
        """The face as detail x detail x 3 BGR, or None if none is found.

        image: H x W x 3 BGR. With ``box``, the face that overlaps it best; without, the one with the largest area times
        score.
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

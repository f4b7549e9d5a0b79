"""Accuracy of the whole path: faces in pictures, found, aligned and classified, beside that of the same face crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.protocols import FaceDetector
from train.data.crop import paste, require_found
from train.data.faces import Faces
from train.data.layouts.finder import chosen_face
from train.evaluation.logits import logits_of
from train.evaluation.metrics import Labels, difference_interval


@dataclass(frozen=True)
class WholePath:
    """``found`` of ``n`` pasted faces; of those found, accuracy on the path and as the data set crops them.

    ``interval`` holds 95 % of the bootstrap of the difference: path less crop.
    """

    n: int
    found: int
    accuracy: float
    cropped: float
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """What the path costs (negative) or gives."""
        return self.accuracy - self.cropped


def measure_whole_path(
    classifier: EmotionClassifier,
    detector: FaceDetector,
    faces: Faces,
    labels: Labels,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> WholePath:
    """Paste each face at a random place and size into a 640 x 480 picture, and let the runtime find and classify it.

    faces: N crops; labels: N positions in the classifier's labels. ``progress`` hears after each how many are done, and
    of how many. Raises DataError when no face is found.
    """
    crops = classifier.scores(logits_of(classifier.backend, faces, classifier.manifest.input))
    cropped = np.array([row.probabilities for row in crops]).argmax(axis=1) == labels
    generator = np.random.default_rng(seed)
    said = np.full(len(faces), -1)
    for row, image in enumerate(faces.images):
        picture, square = paste(image, generator)
        hit = chosen_face(detector.detect(picture), square)
        if hit is not None:
            said[row] = int(np.argmax(classifier.classify(picture, [hit])[0].probabilities))
        if progress is not None:
            progress(row + 1, len(faces))
    found = said >= 0
    require_found(int(found.sum()), len(faces))
    right = (said == labels)[found]
    return WholePath(
        n=len(faces),
        found=int(found.sum()),
        accuracy=float(right.mean()),
        cropped=float(cropped[found].mean()),
        interval=difference_interval(right, cropped[found], seed=seed),
    )

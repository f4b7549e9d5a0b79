"""End-to-end accuracy: faces in pictures are detected, aligned and classified, beside the data set's own crops."""

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
class EndToEnd:
    """Result on ``n`` pasted faces, of which the detector found ``found``.

    ``accuracy``: end to end; ``cropped``: on the data set's crops; both of the faces found. ``interval``: 95 %
    bootstrap interval of their difference.
    """

    n: int
    found: int
    accuracy: float
    cropped: float
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        """End-to-end accuracy minus accuracy on crops; negative if detection and alignment cost accuracy."""
        return self.accuracy - self.cropped


def measure_end_to_end(
    classifier: EmotionClassifier,
    detector: FaceDetector,
    faces: Faces,
    labels: Labels,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> EndToEnd:
    """Paste each face at a random place and size into a 640 x 480 picture; detect and classify it as the runtime does.

    faces: N crops; labels: N positions in the classifier's labels. ``progress(done, total)`` is called after each face.
    Raises DataError if no face is found.
    """
    crops = classifier.scores(logits_of(classifier.backend, faces, classifier.manifest.input))
    cropped = np.array([row.probabilities for row in crops]).argmax(axis=1) == labels
    generator = np.random.default_rng(seed)
    predicted = np.full(len(faces), -1)
    for row, image in enumerate(faces.images):
        picture, square = paste(image, generator)
        hit = chosen_face(detector.detect(picture), square)
        if hit is not None:
            predicted[row] = int(np.argmax(classifier.classify(picture, [hit])[0].probabilities))
        if progress is not None:
            progress(row + 1, len(faces))
    found = predicted >= 0
    require_found(int(found.sum()), len(faces))
    right = (predicted == labels)[found]
    return EndToEnd(
        n=len(faces),
        found=int(found.sum()),
        accuracy=float(right.mean()),
        cropped=float(cropped[found].mean()),
        interval=difference_interval(right, cropped[found], seed=seed),
    )

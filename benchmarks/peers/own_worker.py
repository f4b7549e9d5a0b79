"""Our own models, as its daemon works: ``python -m benchmarks.peers.own_worker TASK ANSWER MODEL DETECTOR``."""

from __future__ import annotations

import sys

import cv2
import numpy as np

from benchmarks.peers.worker import Array, one_core, serve
from benchmarks.shipped import shipped_detector
from edge_emotion.loading import make_classifier
from edge_emotion.preprocess import normalise, to_input


def main(task: str, answer: str, model: str, detector_name: str) -> None:
    """Serve one task."""
    one_core()
    cv2.setNumThreads(1)
    classifier, detector = make_classifier(model), shipped_detector(detector_name)
    spec = classifier.manifest.input

    def crop(face: Array) -> Array:
        logits = classifier.logits(normalise(to_input(face, spec)[None], spec))
        return np.array(classifier.scores(logits)[0].probabilities)

    def frame(picture: Array) -> tuple[Array, Array]:
        faces = detector.detect(picture)
        boxes = [(face.box.x, face.box.y, face.box.width, face.box.height) for face in faces]
        scores = [row.probabilities for row in classifier.classify(picture, faces)]
        return np.array(boxes, float).reshape(-1, 4), np.array(scores, float).reshape(-1, len(classifier.labels))

    packages = ["opencv-python-headless", "numpy", "ai-edge-litert"]
    serve(task, answer, labels=classifier.labels, packages=packages, crop=crop, frame=frame)


if __name__ == "__main__":
    main(*sys.argv[1:])

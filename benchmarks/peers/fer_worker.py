"""Worker for PyPI's fer, called as its users do: ``python -m benchmarks.peers.fer_worker TASK ANSWER tflite|hdf5``."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions
from typing import Any

import numpy as np

from benchmarks.harness.video_loop import Array
from benchmarks.peers.worker import one_core, serve


def main(task: str, answer: str, variant: str) -> None:
    """Do the task in the file ``task`` and write the file ``answer``; formats: worker.py."""
    one_core()
    import cv2
    from fer.fer import FER

    cv2.setNumThreads(1)

    class Recorded(FER):  # type: ignore[misc]
        """fer rounds its scores to two decimals, which creates ties: this keeps the network's own output."""

        scores: Array = np.empty((0, 7))

        def _classify_emotions(self, gray_faces: Array) -> Any:
            predictions = super()._classify_emotions(gray_faces)
            self.scores = np.asarray(predictions, np.float32)
            return predictions

    tight = Recorded(use_tflite=variant == "tflite", offsets=(0, 0))
    usual = Recorded(use_tflite=variant == "tflite")

    def crop(face: Array) -> Array:
        height, width = face.shape[:2]
        tight.detect_emotions(face, [(0, 0, width, height)])
        return np.asarray(tight.scores[0])

    def frame(picture: Array) -> tuple[Array, Array]:
        found = usual.detect_emotions(picture)
        boxes = np.array([one["box"] for one in found], float).reshape(-1, 4)
        return boxes, usual.scores[: len(found)]

    labels = list(FER._get_labels().values())
    tensorflow = packages_distributions()["tensorflow"][0]  # the package's name depends on the processor
    packages = ["fer", tensorflow, "opencv-contrib-python-headless", "numpy"]
    serve(task, answer, labels=labels, packages=packages, crop=crop, frame=frame, colour=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

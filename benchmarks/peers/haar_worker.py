"""Worker for OpenCV's frontal face cascade: ``python -m benchmarks.peers.haar_worker TASK ANSWER``."""

from __future__ import annotations

import sys

import cv2
import cv2.data
import numpy as np

from benchmarks.harness.video_loop import Array
from benchmarks.peers.worker import one_core, serve


def main(task: str, answer: str) -> None:
    """Do the task in the file ``task`` and write the file ``answer``; formats: worker.py."""
    one_core()
    cv2.setNumThreads(1)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def frame(picture: Array) -> tuple[Array, Array]:
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        boxes = np.array(cascade.detectMultiScale(grey, 1.1, 5, minSize=(50, 50)), float).reshape(-1, 4)
        return boxes, np.empty((len(boxes), 0))

    serve(task, answer, labels=(), packages=["opencv-contrib-python-headless", "numpy"], frame=frame)


if __name__ == "__main__":
    main(*sys.argv[1:])

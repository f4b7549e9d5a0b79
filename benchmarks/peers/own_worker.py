"""Worker for our own models: ``python -m benchmarks.peers.own_worker TASK ANSWER MODEL DETECTOR``."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone
from itertools import count

import cv2
import numpy as np

from benchmarks.harness.defaults import default_pipeline
from benchmarks.harness.video_loop import Array
from benchmarks.peers.worker import one_core, serve
from benchmarks.pipeline_speed.single_core import MAX_FPS
from benchmarks.quality.named_detectors import daemon_settings, proposer_of
from edge_emotion.config.settings import ClassifierSettings
from edge_emotion.datatypes import Frame
from edge_emotion.factory.models import models_of
from edge_emotion.models.preprocess import normalise, to_input


def main(task: str, answer: str, model: str, detector_name: str) -> None:
    """Do one task. A video goes through the default pipeline, except that every frame's face is classified."""
    one_core()
    cv2.setNumThreads(1)
    models = models_of(daemon_settings(detector_name), ClassifierSettings(model=model))
    classifier = models.classifier
    detector = models.detector if proposer_of(detector_name) is None else models.quick
    assert detector is not None
    spec, pipeline = classifier.manifest.input, default_pipeline(models, interval=0)
    number, start = count(), datetime.now(timezone.utc)

    def crop(face: Array) -> Array:
        logits = classifier.logits(normalise(to_input(face, spec)[None], spec))
        return np.array(classifier.scores(logits)[0].probabilities)

    def frame(picture: Array) -> tuple[Array, Array]:
        faces = detector.detect(picture)
        boxes = [(face.box.x, face.box.y, face.box.width, face.box.height) for face in faces]
        scores = [row.probabilities for row in classifier.classify(picture, faces)]
        return np.array(boxes, float).reshape(-1, 4), np.array(scores, float).reshape(-1, len(classifier.labels))

    def video(picture: Array) -> object:
        second = next(number) / MAX_FPS
        return pipeline.process(Frame(picture, second, start + timedelta(seconds=second)))

    packages = ["opencv-python-headless", "numpy", "ai-edge-litert"]
    serve(task, answer, labels=classifier.labels, packages=packages, crop=crop, frame=frame, video=video)


if __name__ == "__main__":
    main(*sys.argv[1:])

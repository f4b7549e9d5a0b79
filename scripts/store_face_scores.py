"""Store what the default classifier gives for faces over two seconds: the emotions of tests/support/face_scores.npz.

    python -m scripts.store_face_scores DATA OUT.npz

25 faces of each frequent emotion of FER+'s validation split (majority, seed 0), as the benchmark of stability shows
them; one row for each of 15 samples. Probabilities are stored in steps of 1/255; the file contains no picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.harness.defaults import default_detector
from benchmarks.quality.stability import picture
from edge_emotion.factory.models import make_classifier
from train.data.faces import Faces
from train.data.layouts import load
from train.evaluation.evaluate import measured_faces

EMOTIONS = "neutral", "happiness", "surprise", "sadness", "anger", "fear"
EACH, SAMPLES = 25, 15
"""Faces of each emotion, and samples of each face: two seconds at 7.5 a second."""


def stored(faces: Faces, rows: npt.NDArray[np.int64], generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """EACH x SAMPLES x labels probabilities in 255ths, of the first rows whose face is found in every sample."""
    detector, classifier = default_detector(), make_classifier("mobilenet_v2")
    kept: list[list[tuple[float, ...]]] = []
    for row in generator.permutation(rows):
        scores = []
        for _ in range(SAMPLES):
            image = picture(faces.images[row], generator)
            scores += [each.probabilities for each in classifier.classify(image, detector.detect(image)[:1])]
        if len(scores) == SAMPLES:
            kept.append(scores)
        if len(kept) == EACH:
            break
    return np.rint(np.array(kept) * 255).astype(np.uint8)


def main(data: Path, out: Path) -> None:
    """Write the file."""
    read = load(data, size=48, colour="gray")
    faces = measured_faces(read, "validation", protocol="majority")
    generator = np.random.default_rng(0)
    rows = {name: np.flatnonzero(faces.labels == read.classes.index(name)) for name in EMOTIONS}
    arrays = {name: stored(faces, found, generator) for name, found in rows.items()}
    np.savez_compressed(out, labels=np.array(make_classifier("mobilenet_v2").labels), **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

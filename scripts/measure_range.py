"""Print which faces the detectors of ``classify --range`` find in large pictures, and how long that takes.

A large picture is nine photographs of a folder with boxes (3 x 3 of 640 x 480), in the order of a fixed seed.
Run in the clone: PYTHONPATH=. python scripts/measure_range.py FOLDER
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.quality.boxed_pictures import BoxedPicture, BoxedPictures, face_side
from benchmarks.quality.detection import SIZES, match
from edge_emotion.datatypes import Box, Image
from edge_emotion.factory.models import photograph_detector
from train.data.crop import FRAME

SIDE = 3
"""Photographs in a row, and rows."""

BANDS = list(pairwise((*SIZES, 10_000)))


def main() -> None:
    """A line for each range."""
    mosaics = list(_mosaics(list(BoxedPictures(Path(sys.argv[1])))))
    for reach in ("near", "room", "hall"):
        detector = photograph_detector("blazeface_back", reach=reach)
        faces, found, right, boxes, seconds = Counter[int](), Counter[int](), 0, 0, 0.0
        for image, true in mosaics:
            start = time.process_time()
            answers = [face.box for face in detector.detect(image)]
            seconds += time.process_time() - start
            pairs = match(answers, true)
            right, boxes = right + len(pairs), boxes + len(answers)
            faces.update(_band(box) for box in true)
            found.update(_band(true[j]) for j in pairs.values())
        recall = ", ".join(f"{low} px: {found[low]} of {faces[low]}" for low, _ in BANDS)
        print(f"{reach}: {recall}; right {right} of {boxes} boxes; {1e3 * seconds / len(mosaics):.0f} ms CPU a picture")


def _mosaics(pictures: list[BoxedPicture]) -> Iterator[tuple[Image, list[Box]]]:
    height, width = FRAME
    order = np.random.default_rng(0).permutation(len(pictures))
    for group in order[: len(order) // SIDE**2 * SIDE**2].reshape(-1, SIDE**2):
        image, boxes = np.zeros((SIDE * height, SIDE * width, 3), np.uint8), []
        for place, row in enumerate(group):
            top, left = height * (place // SIDE), width * (place % SIDE)
            part = pictures[row].image
            image[top : top + part.shape[0], left : left + part.shape[1]] = part
            boxes += [Box(box.x + left, box.y + top, box.width, box.height) for box in pictures[row].boxes]
        yield image, boxes


def _band(box: Box) -> int:
    """The least size of the band of a box; 0 under the first band."""
    return next((low for low, high in BANDS if low <= face_side(box) < high), 0)


if __name__ == "__main__":
    main()

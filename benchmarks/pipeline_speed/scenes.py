"""Videos with a known number of faces, made of a clip with one: what the pipeline is measured on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.harness.defaults import shipped_detector
from edge_emotion.config.settings import DetectorSettings
from edge_emotion.datatypes import Face, Image
from edge_emotion.errors import SourceError
from edge_emotion.models.manifest import CropSpec
from edge_emotion.models.preprocess import align
from edge_emotion.protocols import FaceDetector

WIDTH, HEIGHT, FPS = 640, 480, 30
FRAMES = 100
"""Of the clip, at most; the workers hold them in memory."""
AROUND = 0.5
"""Of a face's size that is shown on each side of it, so that the detector knows it for a face."""
MOST = DetectorSettings().max_faces
"""Faces in one frame: as many as the daemon looks at."""
GREY = 127


class Scene(NamedTuple):
    """A video of ``frames`` frames, in ``shown`` of which the detector finds exactly ``faces`` faces."""

    path: Path
    faces: int
    shown: int
    frames: int


def make_scenes(clip: Path, counts: Iterable[int], detector: str, folder: Path, absent: dict[str, str]) -> list[Scene]:
    """For each number of faces one: the clip's own frames for one face, else its faces beside each other.

    One in which the detector never finds so many goes to ``absent``. Raises SourceError if no frame of the clip shows
    exactly one face.
    """
    finder = shipped_detector(detector)
    alone = find_alone(clip, finder, FRAMES)
    scenes = []
    for faces in counts:
        path = folder / f"{faces}-faces.mp4"
        write_video((alone[n][0] if faces == 1 else tile(alone, faces, n) for n in range(len(alone))), path, FPS)
        shown = [len(finder.detect(image)) == faces for image in read_video(path)]
        if any(shown):
            scenes.append(Scene(path, faces, sum(shown), len(shown)))
        else:
            absent[name_faces(faces)] = f"{detector} finds as many in none of {len(shown)} frames"
    return scenes


def name_faces(faces: int) -> str:
    """``1 face``, ``3 faces``."""
    return f"{faces} face" + "s" * (faces > 1)


def tile(alone: Sequence[tuple[Image, Face]], faces: int, number: int) -> Image:
    """Frame ``number`` of a scene: ``faces`` faces of as many moments of the clip, in rows, on grey."""
    columns = math.ceil(math.sqrt(faces))
    rows = math.ceil(faces / columns)
    side = min(WIDTH // columns, HEIGHT // rows)
    canvas = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for place in range(faces):
        image, face = alone[(number + place * len(alone) // faces) % len(alone)]
        row, column = divmod(place, columns)
        top, left = row * HEIGHT // rows, column * WIDTH // columns
        framing = CropSpec(margin=AROUND, shift=0.0, detail=side)
        canvas[top : top + side, left : left + side] = align(image, face, framing)
    return canvas


def read_video(path: Path) -> Iterator[Image]:
    """Its frames; none of what is no video."""
    capture = cv2.VideoCapture(str(path))
    while True:
        ok, image = capture.read()
        if not ok:
            return
        yield np.asarray(image, np.uint8)


def write_video(images: Iterable[Image], path: Path, fps: float) -> None:
    """As MPEG-4. Raises SourceError where OpenCV cannot."""
    writer: cv2.VideoWriter | None = None
    for image in images:
        if writer is None:
            height, width = image.shape[:2]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
            if not writer.isOpened():
                raise SourceError(f"OpenCV cannot write the video {path}: it needs one with FFmpeg")
        writer.write(image)
    if writer is not None:
        writer.release()


def find_alone(clip: Path, detector: FaceDetector, most: int) -> list[tuple[Image, Face]]:
    """The clip's first ``most`` frames with exactly one face, in the scene's size, and where it is.

    Raises SourceError if there is none.
    """
    found: list[tuple[Image, Face]] = []
    for image in read_video(clip):
        if image.shape[:2] != (HEIGHT, WIDTH):
            image = np.asarray(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
        faces = detector.detect(image)
        if len(faces) == 1:
            found.append((image, faces[0]))
        if len(found) == most:
            break
    if not found:
        raise SourceError(f"{clip} has no frame with exactly one face")
    return found

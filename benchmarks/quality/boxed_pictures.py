"""Photographs with annotated faces: ``boxes.csv`` and the pictures, as files beside it or in ``pictures.zip``."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from edge_emotion.datatypes import Box, Image
from train.data.faces import DataError

BOXES, ARCHIVE = "boxes.csv", "pictures.zip"
COLUMNS = ("picture", "x", "y", "width", "height")


class BoxedPicture(NamedTuple):
    """An H x W x 3 BGR picture and its faces, forehead to chin, in its pixels."""

    name: str
    image: Image
    boxes: tuple[Box, ...]


class BoxedPictures:
    """The pictures of a folder, in the order of ``boxes.csv``; each is read when it is asked for.

    Raises DataError for a folder, table or archive that cannot be read, and for a picture that is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self._folder = folder
        self._boxes = read_boxes(folder / BOXES)
        archive = folder / ARCHIVE
        try:
            self._archive = zipfile.ZipFile(archive) if archive.is_file() else None
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{archive} cannot be read: {error}") from error
        for name in self._boxes:
            if not self._holds(name):
                raise DataError(f"{folder / BOXES} names {name}, which is neither in {archive} nor a file beside it")

    def __len__(self) -> int:
        return len(self._boxes)

    def __iter__(self) -> Iterator[BoxedPicture]:
        """Raises DataError for a picture that cannot be read, or a box that lies outside of its picture."""
        for name, boxes in self._boxes.items():
            image = self._image(name)
            height, width = image.shape[:2]
            for box in boxes:
                if box.x >= width or box.y >= height or box.x + box.width < 0 or box.y + box.height < 0:
                    raise DataError(f"{self._folder / BOXES}: a box of {name} lies outside of its {width} x {height}")
            yield BoxedPicture(name, image, boxes)

    def _holds(self, name: str) -> bool:
        within = self._archive is not None and name in self._archive.NameToInfo
        return within or (self._folder / name).is_file()

    def _image(self, name: str) -> Image:
        try:
            if self._archive is not None and name in self._archive.NameToInfo:
                content = self._archive.read(name)
            else:
                content = (self._folder / name).read_bytes()
            image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, zipfile.BadZipFile, cv2.error):  # OpenCV raises for an empty file
            image = None
        if image is None:
            raise DataError(f"{self._folder}: {name} is not a readable image: mend it, or take its rows out of {BOXES}")
        return np.asarray(image, np.uint8)


def read_boxes(file: Path) -> dict[str, tuple[Box, ...]]:
    """Boxes by picture. Raises DataError naming the line of the first row that is no box."""
    boxes: dict[str, list[Box]] = {}
    try:
        with file.open(newline="", encoding="utf-8") as content:
            reader = csv.DictReader(content)
            if missing := set(COLUMNS) - set(reader.fieldnames or ()):
                raise DataError(f"{file} has no column {min(missing)}: its columns must be {','.join(COLUMNS)}")
            for row in reader:
                boxes.setdefault(row["picture"], []).append(_box(row, f"{file}, line {reader.line_num}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    if not boxes:
        raise DataError(f"{file} holds no box")
    return {name: tuple(some) for name, some in boxes.items()}


def _box(row: dict[str, str], where: str) -> Box:
    try:
        values = [float(row[column]) for column in COLUMNS[1:]]
    except (TypeError, ValueError):
        values = [math.nan]
    if not all(map(math.isfinite, values)) or min(values[2:]) < 0:
        raise DataError(f"{where}: expected a picture and four numbers x,y,width,height, the last two not below 0")
    return Box(*values)


def face_side(box: Box) -> float:
    """The size of a face as ``detector.min_size`` counts it: the longer side of its box, in pixels."""
    return max(box.width, box.height)


def windows_without_faces(picture: BoxedPicture, generator: np.random.Generator, count: int) -> Sequence[Image]:
    """Up to ``count`` parts of a picture, none of which touches a face, each enlarged to 480 x 640.

    Each is the largest of some random ones of 160 px of width or more; they do not overlap one another.
    """
    height, width = picture.image.shape[:2]
    taken = [_grown(box) for box in picture.boxes]
    parts = []
    for _ in range(count):
        free = (window for window in _random_windows(width, height, generator) if not _touches(window, taken))
        largest = max(free, key=lambda window: window.width, default=None)
        if largest is None:
            break
        taken.append(largest)
        x, y = int(largest.x), int(largest.y)
        part = picture.image[y : y + int(largest.height), x : x + int(largest.width)]
        parts.append(np.asarray(cv2.resize(part, (640, 480), interpolation=cv2.INTER_LINEAR), np.uint8))
    return parts


TRIES = 200
"""Random windows of which the largest without a face is taken."""

LEAST_WIDTH = 160
"""Pixels; a part of fewer would be hardly more than blur once it is enlarged."""


def _random_windows(width: int, height: int, generator: np.random.Generator) -> Iterator[Box]:
    most = min(width, height * 4 // 3)
    for _ in range(TRIES if most >= LEAST_WIDTH else 0):
        wide = int(generator.integers(LEAST_WIDTH, most + 1))
        high = wide * 3 // 4
        x, y = int(generator.integers(0, width - wide + 1)), int(generator.integers(0, height - high + 1))
        yield Box(x, y, wide, high)


def _grown(box: Box) -> Box:
    """A box with a quarter of its size more on each side, so that no hair and no chin of a face is left."""
    return Box(box.x - box.width / 4, box.y - box.height / 4, box.width * 1.5, box.height * 1.5)


def _touches(window: Box, others: Sequence[Box]) -> bool:
    return any(window.iou(other) > 0 for other in others)

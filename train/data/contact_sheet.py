"""Pictures of a data set: a sheet of random faces, and bar charts. Drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Image
from train.data.faces import Faces, Split

FACE, GAP, NAME = 64, 4, 108
"""Pixels: side of a face on the sheet, space between two, width of the names on its left."""

CHART, BOTTOM, TOP, LEFT = (360, 960), 44, 52, 16
"""Height and width of a chart, and its margins, in pixels."""

COLOURS = (150, 95, 35), (60, 150, 225), (95, 160, 60)
"""BGR of the splits."""

WHITE, BLACK, GREY = (255, 255, 255), (30, 30, 30), (200, 200, 200)


def contact_sheet(faces: Faces, classes: Sequence[str], *, columns: int = 12, seed: int = 0) -> Image:
    """Random faces, one row per class in which there are any, with its name: H x W x 3 BGR.

    It shows people: keep it where the data set may be kept.
    """
    generator = np.random.default_rng(seed)
    rows = [np.flatnonzero(faces.labels == column) for column in range(len(classes))]
    lines = [
        _line(name, faces.images[generator.permutation(found)[:columns]], columns)
        for name, found in zip(classes, rows, strict=True)
        if len(found)
    ]
    return np.concatenate(lines) if lines else _canvas(FACE, NAME)


def bar_chart(title: str, labels: Sequence[str], series: Mapping[Split, Sequence[float]]) -> Image:
    """Shares (0 to 1) as groups of bars, one group per label, one colour per split: H x W x 3 BGR."""
    image = _canvas(*CHART)
    highest = max((max(values, default=0) for values in series.values()), default=0) or 1
    group = (CHART[1] - 2 * LEFT) / max(len(labels), 1)
    bar = group * 0.8 / max(len(series), 1)
    floor, room = CHART[0] - BOTTOM, CHART[0] - BOTTOM - TOP - 14
    _text(image, title, LEFT, 20, size=0.5)
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        _text(image, name, LEFT + 110 * number, 40, colour=colour)
        for at, value in enumerate(values):
            left = LEFT + at * group + number * bar
            top = floor - round(value / highest * room)
            cv2.rectangle(image, (round(left), top), (round(left + bar) - 1, floor), colour, cv2.FILLED)
            _text(image, f"{value:.0%}", round(left), top - 4, size=0.28)
    cv2.line(image, (LEFT, floor + 1), (CHART[1] - LEFT, floor + 1), GREY)
    for at, label in enumerate(labels):
        _text(image, label, round(LEFT + at * group), floor + 20)
    return image


def stack(images: Sequence[Image]) -> Image:
    """Pictures of the same width below each other."""
    return np.concatenate(list(images))


def _line(name: str, images: npt.NDArray[np.uint8], columns: int) -> Image:
    line = _canvas(FACE + GAP, NAME + columns * (FACE + GAP))
    _text(line, name, GAP, FACE // 2)
    for column, image in enumerate(images):
        grey = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        left = NAME + column * (FACE + GAP)
        line[:FACE, left : left + FACE] = cv2.resize(grey, (FACE, FACE), interpolation=cv2.INTER_AREA)
    return line


def _canvas(height: int, width: int) -> Image:
    return np.full((height, width, 3), WHITE, np.uint8)


def _text(image: Image, text: str, x: int, y: int, *, size: float = 0.42, colour: tuple[int, int, int] = BLACK) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)

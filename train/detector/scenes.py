"""Scenes with faces whose boxes are known.

Each is made as it would look upright in good light, and as a camera sees it: rolled, darkened, covered, blurred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Image
from edge_emotion.models.manifest import SquareSpec
from edge_emotion.protocols import FaceDetector
from train.data.crop import FRAME, place
from train.data.faces import DataError
from train.data.layouts.finder import chosen_face

Generator = np.random.Generator
Pictures = npt.NDArray[np.uint8]
"""N pictures of one face each, N x S x S (x 3)."""

Boxes = npt.NDArray[np.float32]
"""N x 4: middle x, y, width, height, in pixels."""

SIDE = 160
"""Pixels of a picture of a face while a detector labels it."""

ASPECT = 0.8
"""Width of a face's box over its height, where a teacher gives only the square within."""

MOST_FACES = 10
PHOTOGRAPHS = 0.8
"""Share of scenes whose background is a part of a photograph, if there are any."""

SMALLEST, LARGEST = 0.06, 0.9
"""Sides of what is pasted, as shares of the picture's height."""

TIGHT, LOOSE = 1.0, 1.9
"""Sides of what is cut out around a face, in heights of its box."""

ROLL = math.radians(75)
SPREAD = math.radians(25)
"""Turns: half of them up to ROLL, the others spread around upright."""

COVERED, OVAL, DARK, BLURRED = 0.25, 0.5, 0.4, 0.3
"""Shares of faces whose eyes or mouth are covered, of faces pasted without corners, of dark and of blurred scenes."""


class LabelledFaces(NamedTuple):
    """Pictures of one face each, for each the box of the face in fractions of the picture, and faceless photographs."""

    images: Pictures
    boxes: Boxes
    backgrounds: Sequence[Image] = ()


class Scene(NamedTuple):
    """A scene of height x width pixels: ``plain``, and as it was ``seen``, and the boxes of the faces in the latter."""

    plain: Image
    seen: Image
    boxes: Boxes


def label_faces(
    faces: Pictures,
    teachers: Sequence[FaceDetector],
    square: SquareSpec,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledFaces:
    """The faces of which one of ``teachers``, in their order, finds the box; ``square`` turns squares into boxes.

    Raises DataError if none is found.
    """
    rows, boxes = [], []
    left, top = (FRAME[1] - SIDE) // 2, (FRAME[0] - SIDE) // 2
    for row, image in enumerate(faces):
        picture, whole = place(image, SIDE, left, top), Box(left, top, SIDE, SIDE)
        found = next((face for one in teachers if (face := chosen_face(one.detect(picture), whole))), None)
        if found is not None:
            x, y = found.box.centre
            height = found.box.height / square.side
            rows.append(row)
            boxes.append(
                ((x - left) / SIDE, (y - top - square.shift * height) / SIDE, height * ASPECT / SIDE, height / SIDE)
            )
        if progress is not None:
            progress(row + 1, len(faces))
    if not rows:
        raise DataError("no teacher finds one of the faces: are these pictures of one face each?")
    return LabelledFaces(faces[rows], np.array(boxes, np.float32))


def scene(faces: LabelledFaces, height: int, width: int, generator: Generator, *, turned: bool) -> Scene:
    """A scene of up to MOST_FACES faces, most of them within the picture.

    A ``turned`` one is rolled as a whole and some of its faces are covered; ``plain`` is then the picture before the
    camera's faults. Otherwise only these faults distinguish ``seen`` from ``plain``.
    """
    side = math.ceil(math.hypot(height, width))
    photograph = not turned and generator.random() < PHOTOGRAPHS
    canvas = (photographed if photograph else texture)(faces, side, generator).astype(np.float32)
    boxes = _paste_faces(canvas, faces, height, generator, covered=COVERED if turned else 0.0)
    near_upright = generator.random() < 0.5
    roll = 0.0 if not turned else generator.normal(0, SPREAD) if near_upright else generator.uniform(-ROLL, ROLL)
    turn = np.asarray(cv2.getRotationMatrix2D((side / 2, side / 2), math.degrees(roll), 1.0), np.float64)
    turn[:, 2] -= np.array([side - width, side - height]) / 2
    picture = np.asarray(cv2.warpAffine(canvas, turn, (width, height), flags=cv2.INTER_LINEAR), np.float32)
    plain = np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)
    return Scene(plain, _camera(picture, generator), _turned(boxes, turn, roll, height, width))


def texture(faces: LabelledFaces, side: int, generator: Generator) -> Image:
    """A square without a face: patches of a picture, mixed up in tiles, enlarged and blurred by chance."""
    picture = _bgr(faces.images[generator.integers(len(faces.images))])
    count = int(generator.integers(3, 9))
    tile = max(picture.shape[0] // count, 1)
    parts = [picture[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] for y in range(count) for x in range(count)]
    order = generator.permutation(len(parts))
    mixed = np.vstack([np.hstack([parts[order[y * count + x]] for x in range(count)]) for y in range(count)])
    enlarged = cv2.resize(mixed, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(enlarged, (0, 0), 0.5 * 24 ** generator.random()), np.uint8)


def photographed(faces: LabelledFaces, side: int, generator: Generator) -> Image:
    """A square of a photograph, from half of ``side`` up to all that there is, mirrored by chance; else a texture."""
    if not len(faces.backgrounds):
        return texture(faces, side, generator)
    photograph = faces.backgrounds[int(generator.integers(len(faces.backgrounds)))]
    height, width = photograph.shape[:2]
    most = min(height, width)
    size = int(generator.uniform(min(side // 2, most), most))
    top, left = (int(generator.integers(0, length - size + 1)) for length in (height, width))
    part = photograph[top : top + size, left : left + size]
    if generator.random() < 0.5:
        part = part[:, ::-1]
    return np.asarray(cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _paste_faces(
    canvas: npt.NDArray[np.float32], faces: LabelledFaces, height: int, generator: Generator, *, covered: float
) -> Boxes:
    """Put faces that do not touch onto a canvas S x S x 3; returns their boxes."""
    boxes: list[tuple[float, float, float, float]] = []
    taken: list[Box] = []
    for _ in range(int(generator.integers(0, MOST_FACES + 1))):
        side = int(height * SMALLEST * (LARGEST / SMALLEST) ** generator.random())
        left, top = (int(place) for place in generator.integers(0, len(canvas) - side + 1, 2))
        spot = Box(left, top, side, side)
        if any(spot.iou(other) > 0 for other in taken):
            continue
        taken.append(spot)
        picture, box = _cut(faces, int(generator.integers(len(faces.images))), generator)
        if generator.random() < covered:
            picture = _cover(picture, box[1], box[3], generator)
        _paste(canvas, picture, spot, generator)
        boxes.append((left + box[0] * side, top + box[1] * side, box[2] * side, box[3] * side))
    return np.array(boxes, np.float32).reshape(-1, 4)


def _cut(faces: LabelledFaces, row: int, generator: Generator) -> tuple[Image, Boxes]:
    """A square around a face, tight or loose as far as its picture reaches, mirrored by chance, and its box within."""
    picture, (x, y, wide, high) = _bgr(faces.images[row]), faces.boxes[row]
    size = picture.shape[0]
    side = int(np.clip(round(high * size * generator.uniform(TIGHT, LOOSE)), 8, size))
    left, top = (int(np.clip(round(middle * size - side / 2), 0, size - side)) for middle in (x, y))
    part = picture[top : top + side, left : left + side]
    box = np.array([x * size - left, y * size - top, wide * size, high * size], np.float32) / np.float32(side)
    if generator.random() < 0.5:
        part, box[0] = part[:, ::-1], 1 - box[0]
    return np.ascontiguousarray(part), box


def _paste(canvas: npt.NDArray[np.float32], picture: Image, spot: Box, generator: Generator) -> None:
    """Put a picture in a tint of its own onto a spot of a canvas, some without corners."""
    side, left, top = int(spot.width), int(spot.x), int(spot.y)
    face = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if side < len(picture) else cv2.INTER_CUBIC)
    tinted = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)[..., None] * _tint(generator)
    mask = _oval(side) if generator.random() < OVAL else np.ones((side, side), np.float32)
    alpha = cv2.GaussianBlur(mask, (0, 0), max(side / 40, 0.3))[..., None]
    part = canvas[top : top + side, left : left + side]
    part += alpha * (tinted - part)


def _tint(generator: Generator) -> npt.NDArray[np.float32]:
    """Factors of B, G and R, as of skin and of warm light."""
    return np.sort(generator.uniform(0.65, 1.0, 3)).astype(np.float32)


def _oval(side: int) -> npt.NDArray[np.float32]:
    """A mask: 1 where a face is pasted, 0 in the corners of its square."""
    mask = np.zeros((64, 64), np.float32)
    return np.asarray(cv2.resize(cv2.ellipse(mask, (32, 32), (31, 36), 0, 0, 360, 1.0, -1), (side, side)), np.float32)


def _turned(boxes: Boxes, turn: npt.NDArray[np.float64], roll: float, height: int, width: int) -> Boxes:
    """The boxes of faces that are rolled with the canvas, as far as their middle is within the picture."""
    middles = boxes[:, :2] @ turn[:, :2].T + turn[:, 2]
    cos, sin = abs(math.cos(roll)), abs(math.sin(roll))
    sides = np.hypot(boxes[:, 2:] * cos, boxes[:, :1:-1] * sin)
    inside = ((middles >= 0) & (middles < (width, height))).all(axis=1)
    return np.asarray(np.hstack([middles, sides])[inside], np.float32)


def _cover(crop: Image, y: float, high: float, generator: Generator) -> Image:
    """The crop with a grey bar over eyes or mouth; ``y``, ``high``: middle, height of the face as shares of it."""
    size = crop.shape[0]
    line = y + high * (generator.choice((-0.12, 0.3)) + generator.normal(0, 0.03))
    half = high * generator.uniform(0.06, 0.16)
    covered: Image = crop.copy()
    top, bottom = (int(min(max(line + sign * half, 0), 1) * size) for sign in (-1, 1))
    covered[top:bottom, size // 10 : size - size // 10] = int(generator.integers(0, 256))
    return covered


def _camera(picture: npt.NDArray[np.float32], generator: Generator) -> Image:
    """Light, colour, blur and noise of a camera."""
    gain = 0.05 * 20 ** generator.random() if generator.random() < DARK else generator.uniform(0.6, 1.3)
    picture = picture * (gain * generator.uniform(0.85, 1.0, 3).astype(np.float32))
    if generator.random() < BLURRED:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.4, 2.0)), np.float32)
    noise = generator.standard_normal(picture.shape, np.float32) * np.sqrt(np.maximum(picture, 0) * 0.3 + 4)
    return np.asarray(np.clip(np.rint(picture + noise * generator.random()), 0, 255), np.uint8)


def _bgr(face: npt.NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR) if face.ndim == 2 else face, np.uint8)

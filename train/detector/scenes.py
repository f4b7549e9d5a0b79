"""Pictures with faces whose boxes are known: labelled by detectors, pasted, rolled, darkened, covered, blurred."""

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
from train.data.faces import DataError, Faces
from train.data.layouts.finder import chosen_face

Generator = np.random.Generator
Boxes = npt.NDArray[np.float32]
"""N x 4: middle x, y, width, height, in pixels."""

SIDE = 160
"""Pixels of a face crop while a detector labels it."""

ASPECT = 0.8
"""Width of a face's box over its height, where a teacher gives only the square within."""

MOST_FACES = 5
SMALLEST, LARGEST = 0.05, 0.9
"""Sides of the pasted crops, as shares of the picture's height."""

ROLL = math.radians(60)


class LabelledFaces(NamedTuple):
    """N face crops, S x S or S x S x 3, and for each the box of the face within, in fractions of the crop."""

    images: npt.NDArray[np.uint8]
    boxes: Boxes


def label_faces(
    faces: Faces,
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
    for row, image in enumerate(faces.images):
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
        raise DataError("no teacher finds one of the faces: are these face crops?")
    return LabelledFaces(faces.images[rows], np.array(boxes, np.float32))


def scene(faces: LabelledFaces, height: int, width: int, generator: Generator) -> tuple[Image, Boxes]:
    """A picture, H x W x 3 BGR, of up to MOST_FACES faces apart; their boxes, N x 4: middle x, y, width, height."""
    picture = background(faces, height, width, generator).astype(np.float32)
    boxes: list[tuple[float, float, float, float]] = []
    taken: list[Box] = []
    for _ in range(int(generator.integers(0, MOST_FACES + 1))):
        side = int(height * SMALLEST * (LARGEST / SMALLEST) ** generator.random())
        left, top = int(generator.integers(0, width - side + 1)), int(generator.integers(0, height - side + 1))
        spot = Box(left, top, side, side)
        if any(spot.iou(other) > 0 for other in taken):
            continue
        taken.append(spot)
        boxes.append(_paste(picture, faces, int(generator.integers(len(faces.images))), spot, generator))
    return _camera(picture, generator), np.array(boxes, np.float32).reshape(-1, 4)


def background(faces: LabelledFaces, height: int, width: int, generator: Generator) -> Image:
    """Textures without a face: patches of crops, each mixed up in tiles, enlarged and blurred by chance."""
    crop = _bgr(faces.images[generator.integers(len(faces.images))])
    tile = max(crop.shape[0] // 6, 1)
    count = crop.shape[0] // tile
    parts = [crop[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] for y in range(count) for x in range(count)]
    order = generator.permutation(len(parts))
    mixed = np.vstack([np.hstack([parts[order[y * count + x]] for x in range(count)]) for y in range(count)])
    enlarged = cv2.resize(mixed, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(enlarged, (0, 0), generator.uniform(0.5, 12)), np.uint8)


def _paste(
    picture: npt.NDArray[np.float32], faces: LabelledFaces, row: int, spot: Box, generator: Generator
) -> tuple[float, float, float, float]:
    """Put one face, rolled and perhaps covered, into a picture; returns its box."""
    side, (x, y, wide, high) = int(spot.width), faces.boxes[row]
    crop = _bgr(faces.images[row])
    if generator.random() < 0.25:
        crop = _cover(crop, y, high, generator)
    face = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if side < crop.shape[0] else cv2.INTER_CUBIC)
    roll = float(generator.normal(0, ROLL / 3)) if generator.random() < 0.7 else float(generator.uniform(-ROLL, ROLL))
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), math.degrees(roll), 1.0)
    face = cv2.warpAffine(face, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.GaussianBlur(cv2.resize(_oval(), (side, side)), (0, 0), max(side / 40, 0.3))[..., None]
    left, top = int(spot.x), int(spot.y)
    part = picture[top : top + side, left : left + side]
    part += alpha * (face - part)
    middle = turn @ np.array([x * side, y * side, 1.0])
    cos, sin = abs(math.cos(roll)), abs(math.sin(roll))
    return (
        left + float(middle[0]), top + float(middle[1]),
        side * math.hypot(wide * cos, high * sin), side * math.hypot(wide * sin, high * cos),
    )  # fmt: skip


def _oval() -> npt.NDArray[np.float32]:
    """A mask of 64 x 64: 1 where a face is pasted, 0 in the corners of its crop."""
    mask = np.zeros((64, 64), np.float32)
    return np.asarray(cv2.ellipse(mask, (32, 32), (31, 36), 0, 0, 360, 1.0, -1), np.float32)


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
    gain = 0.05 * 20 ** generator.random() if generator.random() < 0.35 else generator.uniform(0.6, 1.3)
    picture = picture * (gain * generator.uniform(0.85, 1.0, 3).astype(np.float32))
    if generator.random() < 0.3:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.4, 2.0)), np.float32)
    noise = generator.standard_normal(picture.shape, np.float32) * np.sqrt(np.maximum(picture, 0) * 0.3 + 4)
    return np.asarray(np.clip(np.rint(picture + noise * generator.random()), 0, 255), np.uint8)


def _bgr(face: npt.NDArray[np.uint8]) -> Image:
    return np.asarray(cv2.cvtColor(face, cv2.COLOR_GRAY2BGR) if face.ndim == 2 else face, np.uint8)

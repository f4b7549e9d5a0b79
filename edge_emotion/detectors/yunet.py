"""YuNet (Wu, Peng and Yu 2023): faces from about ten pixels up, without landmarks, from one very small network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.detectors.blazeface import weighted_nms
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import DetectorManifest, SquareSpec
from edge_emotion.models.preprocess import letterbox_pixels
from edge_emotion.protocols import FloatArray, InferenceBackend

LARGEST = 8.0
"""Logarithm of the largest side in strides that is believed: more overflows, and no picture is as large."""


class YuNetDetector:
    """A YuNet model with its manifest.

    ``threshold`` is the least score (0..1); faces under ``min_size`` pixels and beyond the best ``max_faces`` are left
    out. Raises ModelError if the model's tensors do not fit the manifest's grid.
    """

    def __init__(
        self,
        manifest: DetectorManifest,
        backend: InferenceBackend,
        *,
        threshold: float = 0.5,
        min_size: int = 0,
        max_faces: int = 64,
    ) -> None:
        spec = manifest.input
        shapes = [(-(-spec.height // layer.stride), -(-spec.width // layer.stride)) for layer in manifest.grid]
        wanted = [(*shape, values) for values in (2, 4) for shape in shapes]
        if backend.input_shape != spec.shape or sorted(backend.output_shapes) != sorted(wanted):
            raise ModelError(
                f"detector {manifest.name} has tensors {backend.input_shape} -> {backend.output_shapes}, "
                f"its manifest says {spec.shape} -> {tuple(wanted)}: file and manifest do not belong together"
            )
        if manifest.square is None:
            raise ModelError(f"detector {manifest.name}: its manifest has no square: what its boxes frame is not known")
        self.manifest = manifest
        self.backend = backend
        order = [backend.output_shapes.index(shape) for shape in wanted]  # a converter has an order of its own
        self._scores, self._boxes = order[: len(shapes)], order[len(shapes) :]
        self._cells, self._strides = grid_cells(shapes, [layer.stride for layer in manifest.grid])
        self._threshold = threshold
        self._least_logit = math.log(threshold**2 / (1 - threshold**2))
        self._square, self._min_size, self._max_faces = manifest.square, min_size, max_faces

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, best score first, in its pixels; boxes are squares from brow to chin."""
        pixels, factor = letterbox_pixels(image, self.manifest.input)
        outputs = self.backend.run(pixels)
        logits = np.concatenate([outputs[index].reshape(-1, 2) for index in self._scores])
        # The score is the root of a product of two numbers up to 1: each of them is at least its square.
        (candidates,) = (logits.min(axis=1) >= self._least_logit).nonzero()
        if not candidates.size:
            return ()
        scores = np.sqrt((1 / (1 + np.exp(-logits[candidates]))).prod(axis=1))
        kept = scores >= self._threshold
        candidates, scores = candidates[kept], scores[kept]
        raw = np.concatenate([outputs[index].reshape(-1, 4) for index in self._boxes])[candidates]
        points = decode(raw, self._cells[candidates], self._strides[candidates])
        faces = (_face(corners * factor, score, self._square) for corners, score in weighted_nms(points, scores))
        return [face for face in faces if face.box.width >= self._min_size][: self._max_faces]


def grid_cells(shapes: Sequence[tuple[int, int]], strides: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Top left (x, y) of all cells in model pixels, N x 2, and strides, N x 1; ``shapes``: rows, columns by level."""
    corners, steps = [], []
    for (height, width), stride in zip(shapes, strides, strict=True):
        y, x = np.mgrid[:height, :width].reshape(2, -1) * stride
        corners.append(np.stack([x, y], axis=1))
        steps.append(np.full((height * width, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(steps).astype(np.float32)


def decode(raw: FloatArray, cells: FloatArray, strides: FloatArray) -> FloatArray:
    """Raw N x 4 values to N x 2 x 2 points in model pixels: top left, bottom right."""
    middle = cells + raw[:, :2] * strides
    half = np.exp(np.minimum(raw[:, 2:], LARGEST)) * strides / 2
    return np.stack([middle - half, middle + half], axis=1)


def _face(corners: npt.NDArray[np.floating], score: float, square: SquareSpec) -> Face:
    (left, top), (right, bottom) = corners.tolist()
    height = bottom - top
    side, middle = square.side * height, (top + bottom) / 2 + square.shift * height
    return Face(Box((left + right - side) / 2, middle - side / 2, side, side), score)

"""BlazeFace (Bazarevsky et al. 2019, arXiv:1907.05047): boxes and six landmarks from one small network.

Anchors, decoding and the averaging of overlapping detections follow that paper and the published model cards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import AnchorSpec, DetectorManifest
from edge_emotion.models.preprocess import letterbox
from edge_emotion.protocols import FloatArray, InferenceBackend

SAME_FACE = 0.3
"""Boxes that overlap the best one by more than this (intersection over union) are blended into it."""


class BlazeFaceDetector:
    """A BlazeFace model with its manifest.

    ``threshold`` is the least score (0..1); faces under ``min_size`` pixels and beyond the best ``max_faces`` are left
    out. Raises ModelError if the model's tensors do not fit the manifest's anchor grid.
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
        self._anchors = anchor_centres(manifest.input.width, manifest.grid)
        points = 2 + manifest.keypoints
        expected = ((len(self._anchors), 2 * points), (len(self._anchors), 1))
        if backend.input_shape != manifest.input.shape or backend.output_shapes != expected:
            raise ModelError(
                f"detector {manifest.name} has tensors {backend.input_shape} -> {backend.output_shapes}, "
                f"its manifest says {manifest.input.shape} -> {expected}: file and manifest do not belong together"
            )
        self.manifest = manifest
        self.backend = backend
        self._least_logit = math.log(threshold / (1 - threshold))
        self._min_size = min_size
        self._max_faces = max_faces

    def detect(self, image: Image) -> Sequence[Face]:
        """Faces in an H x W x 3 BGR picture, best score first, in its pixels."""
        batch, factor = letterbox(image, self.manifest.input)
        regressors, logits = self.backend.run(batch)
        logits = logits.ravel()
        (candidates,) = (logits >= self._least_logit).nonzero()
        if not candidates.size:
            return ()
        points = decode(regressors[0].take(candidates, axis=0), self._anchors.take(candidates, axis=0))
        scores = 1 / (1 + np.exp(-logits[candidates]))
        faces = (_face(blended * np.float32(factor), score) for blended, score in weighted_nms(points, scores))
        large = [face for face in faces if max(face.box.width, face.box.height) >= self._min_size]
        return large[: self._max_faces]


def anchor_centres(size: int, grid: Sequence[AnchorSpec]) -> FloatArray:
    """Middles of the anchors in pixels of a size x size input, N x 2 (x, y): rows of cells, ``anchors`` per cell."""
    layers = []
    for layer in grid:
        cells = -(-size // layer.stride)
        middle = (np.arange(cells, dtype=np.float32) + 0.5) * (size / cells)
        y, x = np.meshgrid(middle, middle, indexing="ij")
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), layer.anchors, axis=0))
    return np.concatenate(layers)


def decode(regressors: FloatArray, anchors: FloatArray) -> FloatArray:
    """Raw N x 2P values to N x P x 2 points in model pixels: top left, bottom right, then the landmarks.

    The network gives middle, size and landmarks; all but the size are relative to the anchor.
    """
    raw = regressors.reshape(len(regressors), -1, 2)
    points: FloatArray = raw + anchors[:, None]
    half = raw[:, 1] / 2
    points[:, 1] = points[:, 0] + half
    points[:, 0] -= half
    return points


def weighted_nms(points: FloatArray, scores: npt.NDArray[np.floating[Any]]) -> list[tuple[FloatArray, float]]:
    """Mean of detections of the same face: N x P x 2 points, N scores -> (P x 2, highest score) per face, best first.

    Unlike in plain non-maximum suppression, overlapping ones are averaged by score, which steadies boxes over time.
    """
    blended = []
    while scores.size:
        best = scores.argmax()
        same = _overlapping(points, best)
        weights = scores[same]
        mean = weights @ points[same].reshape(len(weights), -1) / weights.sum()
        blended.append((mean.reshape(points.shape[1:]), float(scores[best])))
        points, scores = points[~same], scores[~same]
    return blended


def _overlapping(points: FloatArray, best: np.intp) -> npt.NDArray[np.bool_]:
    """True for each of N boxes of the same face as number ``best``; the first two points of each are its corners."""
    corners, opposite = points[:, 0], points[:, 1]
    shared = np.maximum(np.minimum(opposite, opposite[best]) - np.maximum(corners, corners[best]), 0)
    sides = opposite - corners
    intersection, areas = shared[:, 0] * shared[:, 1], sides[:, 0] * sides[:, 1]
    union = np.maximum(areas + areas[best] - intersection, 0)  # a size may come out negative
    same: npt.NDArray[np.bool_] = intersection > SAME_FACE * union
    same[best] = True  # a box without area overlaps nothing, not even itself
    return same


def _face(points: FloatArray, score: float) -> Face:
    (left, top), (right, bottom), *landmarks = points.tolist()
    return Face(Box(left, top, right - left, bottom - top), score, tuple(map(tuple, landmarks)))

"""Which cell of the grid answers for which face: SimOTA (Ge et al. 2021, arXiv:2107.08430), in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

REACH = 2.5
"""Strides from the middle of a face within which cells may answer for it."""

MOST = 10
"""Cells of one face, at most."""


def assign(scores: Array, boxes: Array, cells: Array, strides: Array, faces: Array) -> npt.NDArray[np.int64]:
    """For each of N cells the position of its face, or -1.

    scores: N probabilities, boxes: N x 4 decoded (middle x, y, width, height), cells: N x 2 corners, strides: N x 1,
    faces: F x 4. Of the cells near a face those with the least cost answer: few where the overlaps are small.
    """
    answers = np.full(len(cells), -1)
    best = np.full(len(cells), np.inf)
    for row, face in enumerate(faces):
        away = np.abs(cells + strides / 2 - face[:2]).max(axis=1)
        (near,) = (away <= REACH * strides[:, 0]).nonzero()
        overlaps = overlap(boxes[near], face)
        cost = -np.log(np.maximum(scores[near], 1e-6)) - 3 * np.log(np.maximum(overlaps, 1e-6))
        count = int(np.clip(np.sort(overlaps)[-MOST:].sum(), 1, MOST))
        for cell, price in zip(near[np.argsort(cost)[:count]], np.sort(cost)[:count], strict=True):
            if price < best[cell]:
                best[cell], answers[cell] = price, row
    return answers


def overlap(boxes: Array, face: Array) -> Array:
    """Intersection over union of N boxes with one: middle x, y, width, height."""
    low = np.maximum(boxes[:, :2] - boxes[:, 2:] / 2, face[:2] - face[2:] / 2)
    high = np.minimum(boxes[:, :2] + boxes[:, 2:] / 2, face[:2] + face[2:] / 2)
    shared = np.maximum(high - low, 0).prod(axis=1)
    shares: Array = shared / np.maximum(boxes[:, 2:].prod(axis=1) + face[2:].prod() - shared, 1e-9)
    return shares

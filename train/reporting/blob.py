"""A check of the layers of explanations: their maps must show a blob where it was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import normalise
from edge_emotion.protocols import FloatArray
from train.reporting.saliency import feature_maps

PLACES = (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)
"""Middle of the blob, as shares of height and width."""

RADIUS = 0.1
"""Of the blob, as a share of the side."""

BACKGROUND = 96


def blobs(spec: InputSpec) -> FloatArray:
    """Model input of 1 + len(PLACES) pictures: a flat grey one, and one with a bright blob at each place."""
    y, x = np.mgrid[: spec.height, : spec.width]
    pictures = np.full((1 + len(PLACES), *spec.shape), BACKGROUND, np.uint8)
    for picture, (down, across) in zip(pictures[1:], PLACES, strict=True):
        near = np.hypot((y + 0.5) / spec.height - down, (x + 0.5) / spec.width - across) <= RADIUS
        picture[near] = 255
    return normalise(pictures, spec)


def misses(model: Any, spec: InputSpec, layer: str) -> tuple[float, ...]:
    """How far from each blob the maps of a layer differ most from those of the flat picture, as shares of the side.

    Independent of what the network has learned: also for random weights.
    """
    maps = feature_maps(model, blobs(spec), layer)
    return _distances(np.abs(maps[1:] - maps[:1]).sum(axis=-1))


def _distances(differences: FloatArray) -> tuple[float, ...]:
    height, width = differences.shape[1:]
    peaks: Sequence[Any] = [np.unravel_index(one.argmax(), one.shape) for one in differences]
    return tuple(
        float(np.hypot((row + 0.5) / height - down, (column + 0.5) / width - across))
        for (row, column), (down, across) in zip(peaks, PLACES, strict=True)
    )

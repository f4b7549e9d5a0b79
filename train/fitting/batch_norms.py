"""Statistics of batch norms: their momentum, and their values for averaged weights.

The moving statistics of a batch norm belong to the weights that the last steps had. Averaged weights compute other
values, and in a short run the statistics are still close to where they began: the network then has the same output for
every face, although it is accurate in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import normalise
from edge_emotion.protocols import FloatArray
from train.data.faces import Faces
from train.evaluation.logits import BATCH, model_pixels
from train.keras import K

FACES = 1024
"""Largest number of training faces for estimating statistics: 16 batches, each of which is a mean over positions."""

MOST, LEAST = 0.99, 0.5
"""Bounds of the momentum."""


def set_momentum(model: Any, steps: int) -> None:
    """Let the moving statistics of every batch norm follow within half an epoch of ``steps``, if not faster already."""
    momentum = min(MOST, max(LEAST, 1 - 2 / steps))
    for norm in batch_norms(model):
        norm.momentum = min(norm.momentum, momentum)


def batch_norms(model: Any) -> list[Any]:
    """The batch norms of a network, also those of networks in it, in the order of its layers."""
    inner = [norm for layer in model.layers if hasattr(layer, "layers") for norm in batch_norms(layer)]
    return [layer for layer in model.layers if isinstance(layer, K.layers.BatchNormalization)] + inner


class Statistics:
    """Estimates the statistics of a network's batch norms anew: the mean over batches of undistorted training faces."""

    def __init__(self, faces: Faces, spec: InputSpec, seed: int) -> None:
        chosen = np.random.default_rng(seed).permutation(len(faces))[:FACES]
        self._images, self._spec = faces.images[chosen], spec

    def estimate(self, model: Any, live: Any) -> None:
        """Replace the statistics in ``model``; norms that are frozen in ``live``, the trained network, keep theirs."""
        norms = batch_norms(model)
        for norm, other in zip(norms, batch_norms(live), strict=True):
            norm.trainable = other.trainable
        if not any(norm.trainable for norm in norms):
            return
        before = [norm.momentum for norm in norms]
        for count, batch in enumerate(self._batches()):
            for norm in norms:
                norm.momentum = count / (count + 1)
            model(batch, training=True)
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum

    def _batches(self) -> Iterator[FloatArray]:
        """Batches of equal size, as each counts the same; a single smaller one if there are fewer faces."""
        size = min(BATCH, len(self._images))
        for start in range(0, len(self._images) - size + 1, size):
            yield normalise(model_pixels(self._images[start : start + size], self._spec), self._spec)

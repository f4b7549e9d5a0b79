"""Ranges of activations from real faces: for each tensor the one that loses least when it is rounded to int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convert.int8.quantise_aware import Range, Scheme, asymmetric, quantised_layers, symmetric
from edge_emotion.models.manifest import InputSpec
from edge_emotion.models.preprocess import normalise
from train.keras import K

Array = npt.NDArray[np.float64]

BINS = 2048
SHARES = np.linspace(0.3, 1.0, 71)
"""Candidates: shares of the largest value that was seen."""
BATCH = 64


def calibrate(folded: Any, pixels: npt.NDArray[np.uint8], spec: InputSpec, scheme: Scheme) -> dict[str, Range]:
    """The range of every output that becomes int8, by the layer's name.

    pixels: N x H x W x C faces of the training split. Clipping a few large values buys finer steps for all others; the
    range with the smallest mean squared error between a value and its rounded form is taken (Choukroun et al. 2019).
    """
    names = quantised_layers(folded)
    model = K.Model(folded.input, [folded.get_layer(name).output for name in names])
    lows, highs = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for outputs in _outputs(model, pixels, spec):
        lows = np.minimum(lows, [values.min() for values in outputs])
        highs = np.maximum(highs, [values.max() for values in outputs])
    edges = [np.linspace(min(low, 0.0), max(high, 1e-6), BINS + 1) for low, high in zip(lows, highs, strict=True)]
    counts = np.zeros((len(names), BINS))
    for outputs in _outputs(model, pixels, spec):
        counts += [np.histogram(values, bins)[0] for values, bins in zip(outputs, edges, strict=True)]
    return {
        name: best_range((bins[1:] + bins[:-1]) / 2, count, scheme)
        for name, bins, count in zip(names, edges, counts, strict=True)
    }


def best_range(values: Array, counts: Array, scheme: Scheme) -> Range:
    """The int8 range with the smallest squared error over a histogram: ``counts`` of ``values``, ascending."""
    low, high = min(values[0], 0.0), max(values[-1], 1e-6)
    if scheme == "symmetric":
        candidates = [symmetric(share * max(high, -low * 127 / 128)) for share in SHARES]
    else:
        candidates = [asymmetric(share * low, share * high) for share in SHARES]
    return candidates[
        int(np.argmin([(counts * (_rounded(values, reach) - values) ** 2).sum() for reach in candidates]))
    ]


def _rounded(values: Array, reach: Range) -> Array:
    return np.clip(np.rint(values / reach.scale) * reach.scale, reach.low, reach.high)


def _outputs(model: Any, pixels: npt.NDArray[np.uint8], spec: InputSpec) -> Any:
    for start in range(0, len(pixels), BATCH):
        yield model.predict_on_batch(normalise(pixels[start : start + BATCH], spec))

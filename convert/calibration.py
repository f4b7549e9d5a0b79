"""Scales without training: the ranges that values have while the float model looks at faces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convert.graph import Graph
from convert.scales import STEPS, Scales, quantisable_edges, weight_scales
from edge_emotion.manifest import InputSpec
from edge_emotion.preprocess import normalise
from train.keras import K

BATCH = 32
BINS = 2048


def calibrate(model: Any, graph: Graph, pixels: npt.NDArray[np.uint8], spec: InputSpec) -> Scales:
    """Scales without training: ``pixels`` (N x H x W x C, what the model sees) go through the float model.

    ``graph`` is the model's. An edge's range is the one with the least mean square error over its values; weights use
    their full range.
    """
    edges = quantisable_edges(graph)
    probe = K.Model(model.input, [model.get_layer(edge).output for edge in edges])
    batches = [normalise(pixels[i : i + BATCH], spec) for i in range(0, len(pixels), BATCH)]
    peaks = np.max([[np.abs(value).max() for value in probe.predict_on_batch(batch)] for batch in batches], axis=0)
    counts = np.zeros((len(edges), BINS), np.int64)
    for batch in batches:
        for row, (value, peak) in enumerate(zip(probe.predict_on_batch(batch), peaks, strict=True)):
            counts[row] += np.histogram(np.abs(value), BINS, (0, max(peak, 1e-12)))[0]
    ranges = [best_range(count, float(peak)) for count, peak in zip(counts, peaks, strict=True)]
    activations = {edge: value / STEPS for edge, value in zip(edges, ranges, strict=True)}
    return Scales({graph.input: input_scale(spec), **activations}, weight_scales(graph))


def best_range(counts: npt.NDArray[np.int64], peak: float) -> float:
    """The clipping range with the least mean square error, from a histogram of magnitudes over 0..peak."""
    magnitudes = (np.arange(len(counts)) + 0.5) * peak / len(counts)
    candidates = peak * np.linspace(0.2, 1.0, 161)[:, None]
    steps = candidates / STEPS
    error = np.minimum(np.rint(magnitudes / steps), STEPS) * steps - magnitudes
    return float(candidates[((error**2) * counts).sum(axis=1).argmin(), 0])


def input_scale(spec: InputSpec) -> float:
    """One pixel step where pixels are an int8 grid around 128, so that q = pixel - 128 exactly; else full range."""
    if spec.offset == -128 * spec.scale:
        return spec.scale
    return max(abs(spec.offset), abs(255 * spec.scale + spec.offset)) / STEPS

"""Symmetric int8 scales of an export graph, and where post-training calibration takes them from.

A real value is ``scale * q`` with q in -128..127 and zero point 0 (Jacob et al. 2018, arXiv:1712.05877, with Z = 0), the
only scheme that TensorRT knows. Weights use -127..127 and a scale for each output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.graph import Graph, Relu, Weighted
from edge_emotion.errors import ModelError
from edge_emotion.manifest import InputSpec
from edge_emotion.preprocess import normalise
from edge_emotion.protocols import FloatArray
from train.keras import K

STEPS = 127
WEIGHT_FLOOR = 1e-2
"""Least range of a channel's weights, as a share of the layer's: a dead channel's bias would not fit into 32 bits."""

BATCH = 32
BINS = 2048


@dataclass(frozen=True)
class Scales:
    """``activations``: edge -> scale; ``weights``: name of a weighted node -> one scale per output channel."""

    activations: Mapping[str, float]
    weights: Mapping[str, FloatArray]

    def activation(self, edge: str) -> float:
        """The scale of an edge. Raises ModelError if there is none, or it is not a positive number."""
        scale = self.activations.get(edge, np.nan)
        if not (np.isfinite(scale) and scale > 0):
            raise ModelError(f"edge {edge!r} has no scale above 0: calibrate the model on more faces")
        return float(scale)

    def weight(self, node: Weighted) -> FloatArray:
        """The scales of a node's output channels. Raises ModelError if they do not fit its kernel."""
        scales = np.asarray(self.weights.get(node.name, ()), np.float32)
        if scales.shape != node.bias.shape or not (np.isfinite(scales) & (scales > 0)).all():
            raise ModelError(f"layer {node.name!r} needs {len(node.bias)} weight scales above 0, not {scales.shape}")
        return scales


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


def weight_scales(graph: Graph) -> dict[str, FloatArray]:
    """Full range for each output channel, but at least WEIGHT_FLOOR of the layer's."""
    scales = {}
    for node in graph.weighted:
        ranges = np.abs(node.kernel).reshape(len(node.kernel), -1).max(axis=1)
        scales[node.name] = np.asarray(np.maximum(ranges, WEIGHT_FLOOR * ranges.max()) / STEPS, np.float32)
    return scales


def quantisable_edges(graph: Graph) -> list[str]:
    """Every edge but the input and those that only a ReLU reads, which are never rounded."""
    return [node.output for node in graph.nodes if not _only_for_relu(graph, node.output)]


def _only_for_relu(graph: Graph, edge: str) -> bool:
    readers = graph.consumers(edge)
    return bool(readers) and all(isinstance(node, Relu) for node in readers)

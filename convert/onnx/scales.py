"""Symmetric int8 scales of an export graph.

A real value is ``scale * q``, q in -128..127: Jacob et al. 2018 (arXiv:1712.05877) with zero point 0, the only scheme
that TensorRT knows. Weights use -127..127 and a scale for each output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convert.onnx.graph import Weighted
from edge_emotion.errors import ModelError
from edge_emotion.protocols import FloatArray

STEPS = 127


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

"""An int8 TFLite file with given symmetric scales: the same integers as the ONNX file of the same graph.

The graph is written down once more in TensorFlow, with fake quantisation (Jacob et al. 2018, arXiv:1712.05877) on every
value that the ONNX file rounds and on the convolution's branch of additions, which TFLite rounds, too; the converter
takes its ranges from there and calibrates nothing.
"""

from __future__ import annotations

from typing import Any

from convert.graph import Add, Conv, Dense, Graph, Node, Pool, Relu, Weighted, same_pads
from convert.scales import STEPS, Scales, quantisable_edges
from edge_emotion.errors import ModelError
from train.keras import tf

Tensor = Any


def symmetric_tflite(graph: Graph, scales: Scales, *, integer_ends: bool = True) -> bytes:
    """The file: int8 in and out, or float32 where ``integer_ends`` is False; any batch size.

    Raises ModelError for scales that are missing or do not fit.
    """
    twin = _Twin(graph, scales)
    function = tf.function(twin.logits).get_concrete_function(tf.TensorSpec([None, *graph.shape], tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], twin)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if integer_ends:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


class _Twin(tf.Module):  # type: ignore[misc]
    """The graph in TensorFlow, its values N x H x W x C."""

    def __init__(self, graph: Graph, scales: Scales) -> None:
        super().__init__()
        self._graph, self._scales = graph, scales
        self._rounded = {graph.input, *quantisable_edges(graph)}

    def logits(self, pixels: Tensor) -> Tensor:
        """All nodes, in their order."""
        values = {self._graph.input: self._round(self._graph.input, pixels)}
        for node in self._graph.nodes:
            value = self._compute(node, [values[edge] for edge in node.inputs])
            values[node.output] = self._round(node.output, value)
        return values[self._graph.output]

    def _round(self, edge: str, value: Tensor) -> Tensor:
        """-128..127 steps: the zero point is 0."""
        if edge not in self._rounded:
            return value
        scale = self._scales.activation(edge)
        return tf.quantization.fake_quant_with_min_max_vars(value, -(STEPS + 1) * scale, STEPS * scale)

    def _compute(self, node: Node, inputs: list[Tensor]) -> Tensor:
        if isinstance(node, Conv):
            return _convolve(node, inputs[0], self._kernel(node)) + node.bias
        if isinstance(node, Dense):
            # As a convolution: the converter would transpose the kernel of a product, and fail at its scales.
            value = tf.nn.conv2d(inputs[0][:, None, None], self._kernel(node), 1, "VALID") + node.bias
            return tf.reshape(value, [-1, len(node.bias)])
        if isinstance(node, Relu):
            return _relu(inputs[0], node.limit)
        if isinstance(node, Add):
            return inputs[0] + inputs[1]
        if isinstance(node, Pool):
            return tf.reduce_mean(inputs[0], axis=(1, 2))
        raise ModelError(f"cannot write {type(node).__name__} {node.name!r} as TFLite")

    def _kernel(self, node: Weighted) -> Tensor:
        """The rounded kernel, H x W x I/groups x O."""
        kernel = node.kernel if isinstance(node, Conv) else node.kernel[:, :, None, None]
        kernel = kernel.transpose(2, 3, 1, 0)
        reach = STEPS * self._scales.weight(node)
        return tf.quantization.fake_quant_with_min_max_vars_per_channel(kernel, -reach, reach, narrow_range=True)


def _convolve(node: Conv, value: Tensor, kernel: Tensor) -> Tensor:
    """Pads that are not TensorFlow's SAME become zeros of their own."""
    size = tuple(value.shape[1:3])
    padding = "SAME"
    if node.pads != same_pads(size, tuple(kernel.shape[:2]), node.strides, node.dilations):
        top, left, bottom, right = node.pads
        value, padding = tf.pad(value, [[0, 0], [top, bottom], [left, right], [0, 0]]), "VALID"
    channels = value.shape[3]
    if 1 < node.groups == channels:
        kernel = tf.reshape(kernel, [*kernel.shape[:2], channels, kernel.shape[3] // channels])
        return tf.nn.depthwise_conv2d(value, kernel, [1, *node.strides, 1], padding, dilations=node.dilations)
    return tf.nn.conv2d(value, kernel, node.strides, padding, dilations=node.dilations)


def _relu(value: Tensor, limit: float | None) -> Tensor:
    if limit is None:
        return tf.nn.relu(value)
    return tf.nn.relu6(value) if limit == 6 else tf.clip_by_value(value, 0, limit)

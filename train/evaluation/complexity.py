"""How much a model has to store and to compute."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

from train.keras import tf


class Complexity(NamedTuple):
    """``parameters``: every weight, batch-norm averages included. ``macs``: multiply-accumulates for one face.

    ``macs`` is None where the graph leaves a size open or hides work in a function (grouped convolutions on a CPU do).
    """

    parameters: int
    macs: int | None


def measure_complexity(model: Any) -> Complexity:
    """Parameters and multiply-accumulates of a tf_keras model N x H x W x C -> N x classes.

    Counted are the products of convolutions, dense layers and attention, whatever layers they hide in, in the graph
    that TensorFlow makes of the model for one face; what is done per value (batch norm, activations) is not.
    """
    shape = (1, *model.input_shape[1:])
    traced = tf.function(lambda batch: model(batch, training=False))
    graph = traced.get_concrete_function(tf.TensorSpec(shape, tf.float32)).graph
    try:
        macs: int | None = sum(_macs(operation) for operation in graph.get_operations())
    except ValueError:
        macs = None
    return Complexity(int(model.count_params()), macs)


def _macs(operation: Any) -> int:
    """Multiply-accumulates of one operation of a graph; ValueError where they cannot be seen."""
    if operation.type in _CALLS:
        raise ValueError(f"{operation.name} hides its operations in a function")
    if operation.type not in _PER_OUTPUT and operation.type not in ("Einsum", "Conv2DBackpropInput"):
        return 0
    shapes = [_sizes(tensor) for tensor in operation.inputs]
    if operation.type == "Einsum":
        return _einsum(operation.get_attr("equation").decode(), shapes)
    if operation.type == "Conv2DBackpropInput":  # a transposed convolution: each input value meets the whole kernel
        _, kernel, values = shapes
        return prod(values) * prod(kernel[:3])
    return prod(_sizes(operation.outputs[0])) * _PER_OUTPUT[operation.type](operation, shapes)


_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile"}
_PER_OUTPUT: dict[str, Callable[[Any, list[list[int]]], int]] = {
    "Conv2D": lambda _, shapes: prod(shapes[1][:3]),  # kernel: height, width, channels of the group, filters
    "DepthwiseConv2dNative": lambda _, shapes: prod(shapes[1][:2]),
    "MatMul": lambda operation, shapes: shapes[0][0 if operation.get_attr("transpose_a") else 1],
    "BatchMatMulV2": lambda operation, shapes: shapes[0][-2 if operation.get_attr("adj_x") else -1],
}
"""Type of operation -> products for one value of its output."""


def _einsum(equation: str, shapes: list[list[int]]) -> int:
    """Every index runs over its whole size: 'abc,cd->abd' costs a * b * c * d. '...' stands for indices of its own."""
    sizes: dict[str, int] = {}
    for term, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
        hidden = len(shape) - len(term.replace("...", ""))
        named = term.replace("...", "0123456789"[10 - hidden :])
        sizes.update(zip(named, shape, strict=True))
    return prod(sizes.values())


def _sizes(tensor: Any) -> list[int]:
    sizes = tensor.shape.as_list()
    if None in sizes:
        raise ValueError(f"{tensor.name} has the open shape {sizes}")
    return list(sizes)

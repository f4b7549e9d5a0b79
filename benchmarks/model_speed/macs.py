"""Multiply-accumulates and activations of one picture, counted from the shapes in a model's file.

Convolutions and products of matrices count, everything else (additions, pooling, activations) does not.
An addition and a multiplication together are one MAC.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from edge_emotion.backends.tflite import Operation, TfliteBackend
from edge_emotion.errors import BackendUnavailable, ModelError


def count_macs(path: Path, file_format: str) -> int:
    """Of a file of format ``tflite`` or ``onnx``, for a batch of one.

    Raises ModelError if the file cannot be read or leaves a size open, BackendUnavailable without what reads it.
    """
    return _tflite(path) if file_format == "tflite" else _onnx(path)


def count_activations(path: Path) -> int:
    """Bytes of activations that a TFLite file needs at once, for a batch of one. Raises ModelError if it is none."""
    backend = TfliteBackend(path, plain_kernels=True)
    try:
        return backend.activation_bytes
    finally:
        backend.close()


def operation_macs(operation: Operation) -> int:
    """Of one TFLite operator (its inputs are picture and weights; TRANSPOSE_CONV has the output's shape first)."""
    outputs = prod(operation.outputs[0]) if operation.outputs else 0
    match operation.name:
        case "CONV_2D":  # weights: outputs x height x width x inputs of a group
            return outputs * prod(operation.inputs[1][1:])
        case "DEPTHWISE_CONV_2D":  # weights: 1 x height x width x outputs
            return outputs * prod(operation.inputs[1][1:3])
        case "FULLY_CONNECTED":  # weights: outputs x inputs
            return outputs * operation.inputs[1][-1]
        case "TRANSPOSE_CONV":  # weights: outputs x height x width x inputs
            return prod(operation.inputs[2]) * prod(operation.inputs[1][:3])
    return 0


def _tflite(path: Path) -> int:
    backend = TfliteBackend(path, plain_kernels=True)  # a delegate would hide the operators that it takes over
    try:
        return sum(map(operation_macs, backend.operations))
    finally:
        backend.close()


def _onnx(path: Path) -> int:
    try:
        import onnx
        from onnx.shape_inference import infer_shapes
    except ImportError as error:
        raise BackendUnavailable("to count the MACs of an ONNX file: pip install onnx") from error
    try:
        model = onnx.load(path)
        for value in (model.graph.input[0], *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
        graph = infer_shapes(model, strict_mode=True, data_prop=True).graph
    except Exception as error:  # protobuf's and onnx' share no base
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} cannot be read as an ONNX model: {reason}") from error
    shapes: dict[str, tuple[int, ...]] = {one.name: tuple(one.dims) for one in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(one.dim_value for one in value.type.tensor_type.shape.dim)
    return sum(_node_macs(path, node, shapes) for node in graph.node)


def _node_macs(path: Path, node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    first, second, output = (shapes.get(str(name), ()) for name in (*node.input[:2], node.output[0]))
    if not all(shape and all(shape) for shape in (first, second, output)):
        raise ModelError(f"{path}: the shapes of {node.op_type} {node.name!r} are open: its MACs cannot be counted")
    if node.op_type == "Conv":  # weights: outputs x inputs of a group x height x width
        return prod(output) * prod(second[1:])
    across = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return prod(output) * first[0 if across else -1]

"""A float TFLite file as a TensorFlow function, rebuilt from its operators and constants, as input of a quantiser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ModelError
from train.keras import tf

Tensor = Any
Build = Callable[[Any, list[Any]], Tensor]
"""(options of an operator, inputs) -> output."""


def from_tflite(file: Path) -> Callable[[Tensor], list[Tensor]]:
    """The network of a file as a function of its input, which returns the file's outputs in order.

    Supports the operators of the BlazeFace files; float16 weights become float32. Raises ModelError, with the name, for
    another operator, activation or type of a constant, and for a file that is no TFLite model.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
        graph, names = model.subgraphs[0], _names(schema.BuiltinOperator)
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]  # older files
        operators = [(names[codes[one.opcodeIndex]], one) for one in graph.operators]
    except Exception as error:  # flatbuffers raises various exceptions when reading beyond the end
        raise ModelError(f"{file} cannot be read as a TFLite model: {type(error).__name__}") from error
    unknown = sorted({name for name, _ in operators} - set(BUILD) - {"DEQUANTIZE"})
    if unknown:
        raise ModelError(f"{file}: operator {unknown[0]} is not one that can be built again")
    for name, one in operators:
        activation = getattr(one.builtinOptions, "fusedActivationFunction", 0)
        if activation not in ACTIVATE:
            kind = _names(schema.ActivationFunctionType)[activation]
            raise ModelError(f"{file}: activation {kind} of {name} is not one that can be built again")
    constants = _constants(file, model, schema)

    def network(picture: Tensor) -> list[Tensor]:
        values: dict[int, Any] = dict(constants) | {int(graph.inputs[0]): picture}
        for name, one in operators:
            inputs = [values[int(index)] for index in one.inputs]
            if name == "DEQUANTIZE":
                values[int(one.outputs[0])] = np.asarray(inputs[0], np.float32)
            else:
                values[int(one.outputs[0])] = BUILD[name](one.builtinOptions, inputs)
        return [values[int(index)] for index in graph.outputs]

    return network


def _names(kinds: Any) -> dict[int, str]:
    return {value: name for name, value in vars(kinds).items() if not name.startswith("_")}


def _constants(file: Path, model: Any, schema: Any) -> dict[int, npt.NDArray[Any]]:
    """Index -> constant tensor of the file. Raises ModelError for one that is neither float nor int32."""
    types = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.FLOAT16: np.float16,
        schema.TensorType.INT32: np.int32,
    }
    constants = {}
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        data = model.buffers[tensor.buffer].data
        if data is None or not len(data):
            continue
        if tensor.type not in types:
            kind, name = _names(schema.TensorType)[tensor.type], bytes(tensor.name or b"").decode(errors="replace")
            raise ModelError(f"{file}: constant {name} is {kind}, expected a float file")
        constants[index] = np.frombuffer(bytes(data), types[tensor.type]).reshape(tensor.shape)
    return constants


def _padding(options: Any) -> str:
    return ("SAME", "VALID")[options.padding]


ACTIVATE: dict[int, Callable[[Tensor], Tensor]] = {0: tf.identity, 1: tf.nn.relu, 3: tf.nn.relu6}
"""Number of a fused activation in the file's schema -> function."""


def _activate(options: Any, value: Tensor) -> Tensor:
    return ACTIVATE[options.fusedActivationFunction](value)


def _convolve(options: Any, inputs: list[Any]) -> Tensor:
    kernel = np.transpose(inputs[1], (1, 2, 3, 0))  # outputs first in the file, last in TensorFlow
    strides = (options.strideH, options.strideW)
    return _activate(options, tf.nn.conv2d(inputs[0], kernel, strides, _padding(options)) + inputs[2])


def _convolve_depthwise(options: Any, inputs: list[Any]) -> Tensor:
    kernel = np.transpose(inputs[1], (1, 2, 3, 0))  # 1 x H x W x C in the file
    strides = (1, options.strideH, options.strideW, 1)
    return _activate(options, tf.nn.depthwise_conv2d(inputs[0], kernel, strides, _padding(options)) + inputs[2])


def _max_pool(options: Any, inputs: list[Any]) -> Tensor:
    size, strides = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
    return _activate(options, tf.nn.max_pool2d(inputs[0], size, strides, _padding(options)))


BUILD: dict[str, Build] = {
    "CONV_2D": _convolve,
    "DEPTHWISE_CONV_2D": _convolve_depthwise,
    "MAX_POOL_2D": _max_pool,
    "ADD": lambda options, inputs: _activate(options, inputs[0] + inputs[1]),
    "RELU": lambda _, inputs: tf.nn.relu(inputs[0]),
    "PAD": lambda _, inputs: tf.pad(inputs[0], inputs[1]),
    "RESHAPE": lambda options, inputs: tf.reshape(inputs[0], options.newShape),
    "CONCATENATION": lambda options, inputs: tf.concat(inputs, options.axis),
}

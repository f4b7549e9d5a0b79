"""The machine's peak, measured: a model of nothing but products of matrices, run as every other model is.

LAYERS convolutions of 1 x 1 with SIZE channels over SIDE x SIDE places: each is the product of a SIDE^2 x SIZE and a
SIZE x SIZE matrix, small enough to stay in the caches, large enough that the calls between them do not count.
"""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from edge_emotion.errors import BackendUnavailable
from edge_emotion.models.manifest import InputSpec, ModelFile
from edge_emotion.system.atomic_file import sha256

SIDE, SIZE, LAYERS = 16, 256, 8
INPUT = InputSpec(height=SIDE, width=SIDE, channels=3, colour="rgb", scale=1 / 128, offset=-1.0)
Arithmetic = Literal["int8", "float32"]


def write_peak_model(folder: Path, arithmetic: Arithmetic) -> ModelFile:
    """Write ``peak_<arithmetic>.tflite``; its entry as in a manifest.

    Raises BackendUnavailable without LiteRT, whose package carries the format's schema (tflite_runtime's does not).
    """
    path = folder / f"peak_{arithmetic}.tflite"
    path.write_bytes(_model(arithmetic))
    return ModelFile(
        format="tflite",
        precision=arithmetic,
        file=path.name,
        sha256=sha256(path),
        input_type=arithmetic,
        output_type=arithmetic,
    )


def _model(arithmetic: Arithmetic) -> bytes:
    schema = _schema()
    graph = _Graph(schema, arithmetic)
    widths = (INPUT.channels, *(SIZE,) * (LAYERS + 1), 1)
    last = graph.activation(widths[0])
    graph.subgraph.inputs = [last]
    for before, after in pairwise(widths):
        last = graph.convolve(last, before, after)
    graph.subgraph.outputs = [last]
    return graph.pack()


class _Graph:
    """A network under construction, by the object interface of TFLite's schema."""

    def __init__(self, schema: ModuleType, arithmetic: Arithmetic) -> None:
        self._schema: Any = schema
        self._int8 = arithmetic == "int8"
        self._random = np.random.default_rng(0)
        self.subgraph: Any = schema.SubGraphT()
        self.subgraph.tensors, self.subgraph.operators = [], []
        self._buffers: list[Any] = [schema.BufferT()]  # the first one is empty: tensors without values

    def activation(self, channels: int) -> int:
        """A tensor 1 x SIDE x SIDE x channels; its index."""
        return self._tensor((1, SIDE, SIDE, channels), scale=1 / 64)

    def convolve(self, source: int, before: int, after: int) -> int:
        """Append a convolution of 1 x 1; the index of its result."""
        shape = (after, 1, 1, before)
        if self._int8:
            weights = self._tensor(shape, self._random.integers(-127, 128, shape).astype(np.int8), scale=1 / 1024)
            bias = self._tensor((after,), np.zeros(after, np.int32), scale=1 / 64 / 1024)
        else:
            values = self._random.normal(scale=before**-0.5, size=shape)
            weights = self._tensor(shape, values.astype(np.float32))
            bias = self._tensor((after,), np.zeros(after, np.float32))
        result = self.activation(after)
        options = self._schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = self._schema.Padding.VALID, 1, 1
        operator = self._schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = 0, [source, weights, bias], [result]
        operator.builtinOptionsType, operator.builtinOptions = self._schema.BuiltinOptions.Conv2DOptions, options
        self.subgraph.operators.append(operator)
        return result

    def pack(self) -> bytes:
        """The file's content."""
        flatbuffers: Any = importlib.import_module("flatbuffers")
        code, model = self._schema.OperatorCodeT(), self._schema.ModelT()
        code.builtinCode = code.deprecatedBuiltinCode = self._schema.BuiltinOperator.CONV_2D
        code.version = 3 if self._int8 else 1
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [self.subgraph], self._buffers
        builder = flatbuffers.Builder(1 << 22)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, shape: tuple[int, ...], values: Any = None, *, scale: float = 0.0) -> int:
        types = self._schema.TensorType
        tensor = self._schema.TensorT()
        tensor.name, tensor.shape = f"t{len(self.subgraph.tensors)}".encode(), list(shape)
        tensor.type = types.INT8 if self._int8 else types.FLOAT32
        if values is not None:
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
            tensor.type = types.INT32 if values.dtype == np.int32 else tensor.type
        if self._int8:
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [scale], [0]
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1


def _schema() -> ModuleType:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise BackendUnavailable("to measure the machine's peak: pip install ai-edge-litert") from error
    schema: ModuleType = schema_py_generated
    return schema

"""A TFLite file of other origin, changed at its ends by its own operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from convert.own.description import Layout
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import Precision

NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
TYPES = {name: value for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
FLOAT, INTEGERS = TYPES["FLOAT32"], (TYPES["INT8"], TYPES["UINT8"])
PASSED = "QUANTIZE", "DEQUANTIZE", "RESHAPE", "SQUEEZE"
"""Operators that may follow a softmax and do not change its values."""

LEAST = 1e-7
"""Least probability that a logarithm is taken of."""

VERSIONS = {"DEQUANTIZE": 2, "QUANTIZE": 1}


class TfliteFile:
    """A network as a TFLite file.

    Raises ModelError for a file that is none, and for one with other than one input and one output.
    """

    format: Literal["tflite", "onnx"] = "tflite"

    def __init__(self, content: bytes, file: Path) -> None:
        self._file = file
        try:
            self._model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
            self._graph: Any = self._model.subgraphs[0]
            ends = len(self._graph.inputs), len(self._graph.outputs)
        except Exception as error:  # flatbuffers raises various exceptions when reading beyond the end
            raise ModelError(f"{file} cannot be read as a TFLite model: {type(error).__name__}") from error
        if ends != (1, 1):
            raise ModelError(f"{file} has {ends[0]} inputs and {ends[1]} outputs: export it with one of each")
        tensor = self._tensor(self._graph.inputs[0])
        if len(tensor.shape) != 4:
            raise ModelError(f"{file} takes {_by(tensor.shape)}: a batch of pictures has four axes")
        if tensor.type not in (FLOAT, *INTEGERS):
            raise ModelError(f"{file}: its input must be float32, int8 or uint8")
        # Other names of these tensors stand in the signatures, which the runtime does not use.
        self._model.signatureDefs = None
        sizes = [int(size) for size in tensor.shape[1:]]
        self.shape: tuple[int | None, int | None, int | None] = (sizes[0], sizes[1], sizes[2])
        self.precision: Precision = self._found_precision()
        self.own_range = self._pixel_range(tensor)

    def remove_softmax(self) -> bool:
        """Make the softmax's input the output; False if the network does not end in one, or in one with a factor."""
        last = self._last()
        if last is None or self._name(last) != "SOFTMAX" or last.builtinOptions.beta != 1:
            return False
        self._graph.outputs = [int(last.inputs[0])]
        self._remove_unused()
        return True

    def ends_in_sigmoid(self) -> bool:
        """Whether the outputs are those of a sigmoid."""
        last = self._last()
        return last is not None and self._name(last) == "LOGISTIC"

    def _last(self) -> Any:
        """The last operator that computes something; None if there is none."""
        makers = {int(index): one for one in self._graph.operators for index in one.outputs}
        last = makers.get(int(self._graph.outputs[0]))
        while last is not None and self._name(last) in PASSED:
            last = makers.get(int(last.inputs[0]))
        return last

    def flatten_output(self, count: int) -> None:
        """Make the output N x ``count``."""
        old = self._tensor(self._graph.outputs[0])
        if len(old.shape) == 2:
            return
        shape = self._constant(np.array([-1, count], np.int32), "flat_shape")
        new = self._add_tensor("flat", [1, count], old.type, old.quantization)
        options = schema.ReshapeOptionsT()
        options.newShape = [-1, count]
        self._append(
            "RESHAPE", [int(self._graph.outputs[0]), shape], new, options, schema.BuiltinOptions.ReshapeOptions
        )
        self._graph.outputs = [new]

    def take_logarithm(self) -> None:
        """Make the logarithm of the output the output, in float32; of 0 that of the least probability."""
        index, least = int(self._graph.outputs[0]), LEAST
        old = self._tensor(index)
        if old.type in INTEGERS:
            least = max(least, float(old.quantization.scale[0]) / 2)
            index = self._follow("DEQUANTIZE", [index], "probabilities")
        options = schema.MaximumMinimumOptionsT()
        index = self._follow(
            "MAXIMUM", [index, self._constant(np.array([least], np.float32), "least")], "at_least", options,
            schema.BuiltinOptions.MaximumMinimumOptions,
        )  # fmt: skip
        self._graph.outputs = [self._follow("LOG", [index], "log_probabilities")]

    def prepend(
        self, shape: tuple[int, int, int], layout: Layout, scale: tuple[float, ...], offset: tuple[float, ...]
    ) -> None:
        """Make the input float N x H x W x C, multiplied and shifted by channel if ``scale`` is not empty."""
        old = int(self._graph.inputs[0])
        tensor = self._tensor(old)
        batch = -1 if tensor.shapeSignature is not None and tensor.shapeSignature[0] == -1 else 1
        steps: list[tuple[str, list[int], Any, int]] = []
        for name, values, make, kind in (
            ("MUL", scale, schema.MulOptionsT, schema.BuiltinOptions.MulOptions),
            ("ADD", offset, schema.AddOptionsT, schema.BuiltinOptions.AddOptions),
        ):
            if values:
                steps.append((name, [self._constant(np.array(values, np.float32), name.lower())], make(), kind))
        if layout == "NCHW":
            order = self._constant(np.array([0, 3, 1, 2], np.int32), "channels_first")
            steps.append(("TRANSPOSE", [order], schema.TransposeOptionsT(), schema.BuiltinOptions.TransposeOptions))
        if not steps:
            return
        if tensor.type != FLOAT:
            steps.append(("QUANTIZE", [], schema.QuantizeOptionsT(), schema.BuiltinOptions.QuantizeOptions))
        height, width, channels = shape
        sizes, operators = [1, height, width, channels], []
        index = first = self._add_tensor("pixels", sizes, FLOAT, batch=batch)
        for at, (name, constants, options, kind) in enumerate(steps):
            if name == "TRANSPOSE":
                sizes = [1, channels, height, width]
            is_last = at == len(steps) - 1
            output = old if is_last else self._add_tensor(f"pixels_{name.lower()}", sizes, FLOAT, batch=batch)
            operators.append(self._operator(name, [index, *constants], output, options, kind))
            index = output
        self._graph.operators = [*operators, *self._graph.operators]
        self._graph.inputs = [first]

    def content(self) -> bytes:
        """The file."""
        builder = flatbuffers.Builder(2**16)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, index: int) -> Any:
        return self._graph.tensors[int(index)]

    def _name(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return str(NAMES.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM"))

    def _found_precision(self) -> Precision:
        """By the type that most bytes of the constants have."""
        sizes = {"int8": 0, "float16": 0, "float32": 0}
        kinds = {TYPES["INT8"]: "int8", TYPES["UINT8"]: "int8", TYPES["FLOAT16"]: "float16", FLOAT: "float32"}
        for tensor in self._graph.tensors:
            data = self._model.buffers[tensor.buffer].data
            if data is not None and tensor.type in kinds:
                sizes[kinds[tensor.type]] += len(data)
        most = max(sizes, key=lambda kind: sizes[kind])
        return "int8" if most == "int8" else "float16" if most == "float16" else "float32"

    def _pixel_range(self, tensor: Any) -> tuple[float, float] | None:
        """Scale and offset of the real value that a pixel has as uint8, or a pixel - 128 as int8; None: float."""
        if tensor.type == FLOAT:
            return None
        scale, zero = float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
        return scale, -scale * (zero + (128 if tensor.type == TYPES["INT8"] else 0))

    def _remove_unused(self) -> None:
        needed, kept = {int(index) for index in self._graph.outputs}, []
        for operator in reversed(self._graph.operators):
            if needed & {int(index) for index in operator.outputs}:
                needed |= {int(index) for index in operator.inputs}
                kept.append(operator)
        self._graph.operators = kept[::-1]

    def _follow(self, name: str, inputs: list[int], output: str, options: Any = None, kind: int = 0) -> int:
        """Append an operator with a float output of its first input's shape; the output's index."""
        tensor = self._tensor(inputs[0])
        signature = tensor.shapeSignature
        batch = -1 if signature is not None and len(signature) and signature[0] == -1 else int(tensor.shape[0])
        index = self._add_tensor(output, [int(size) for size in tensor.shape], FLOAT, batch=batch)
        self._append(name, inputs, index, options, kind)
        return index

    def _append(self, name: str, inputs: list[int], output: int, options: Any = None, kind: int = 0) -> None:
        self._graph.operators = [*self._graph.operators, self._operator(name, inputs, output, options, kind)]

    def _operator(self, name: str, inputs: list[int], output: int, options: Any, kind: int) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._opcode(name)
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        return operator

    def _opcode(self, name: str) -> int:
        number = getattr(schema.BuiltinOperator, name)
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), VERSIONS.get(name, 1)
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1

    def _constant(self, values: npt.NDArray[Any], name: str) -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        kind = TYPES["INT32"] if values.dtype == np.int32 else FLOAT
        index = self._add_tensor(name, list(values.shape), kind, batch=None)
        self._tensor(index).buffer = len(self._model.buffers) - 1
        return index

    def _add_tensor(
        self, name: str, shape: list[int], kind: int, quantization: Any = None, *, batch: int | None = 1
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = f"import_{name}".encode(), shape, kind, 0
        tensor.quantization = quantization
        if batch == -1:
            tensor.shapeSignature = [-1, *shape[1:]]
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def _by(shape: npt.NDArray[np.int32]) -> str:
    return " x ".join(str(int(size)) for size in shape)

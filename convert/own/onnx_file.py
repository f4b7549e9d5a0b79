"""An ONNX file from elsewhere; nodes of its operator set are added or removed at its input and output."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from convert.own.description import Layout
from convert.own.tflite_file import LEAST
from edge_emotion.errors import ModelError
from edge_emotion.models.manifest import Precision

PASSED = "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "QuantizeLinear", "DequantizeLinear"
"""Nodes that may follow a softmax and do not change its values."""

ROUNDING = {"QuantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear"}
FLOAT = int(TensorProto.FLOAT)


class OnnxFile:
    """A network as an ONNX file. Raises ModelError for a file that is none, or with other than one input and output."""

    format: Literal["tflite", "onnx"] = "onnx"
    own_range: tuple[float, float] | None = None

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._model = onnx.load(file)
            onnx.checker.check_model(self._model)
        except (DecodeError, onnx.checker.ValidationError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
            raise ModelError(f"{file} cannot be read as an ONNX model: {reason}") from error
        self._graph = self._model.graph
        constants = {tensor.name for tensor in self._graph.initializer}
        inputs = [value for value in self._graph.input if value.name not in constants]
        if (len(inputs), len(self._graph.output)) != (1, 1):
            raise ModelError(
                f"{file} has {len(inputs)} inputs and {len(self._graph.output)} outputs: export it with one of each"
            )
        self._input = inputs[0]
        sizes = [_size(dim) for dim in self._input.type.tensor_type.shape.dim]
        if len(sizes) != 4:
            raise ModelError(f"{file}: its input has {len(sizes)} axes: a batch of pictures has four")
        self._batch = sizes[0]
        self.shape: tuple[int | None, int | None, int | None] = (sizes[1], sizes[2], sizes[3])
        self.precision: Precision = self._found_precision()

    def remove_softmax(self) -> bool:
        """Make the softmax's input the output; False if the network does not end in one."""
        last = self._last()
        if last is None or last.op_type != "Softmax":
            return False
        kind, shape = self._kind(last.input[0]), self._graph.output[0].type.tensor_type.shape
        del self._graph.output[:]
        self._graph.output.append(helper.make_tensor_value_info(last.input[0], kind, None))
        self._graph.output[0].type.tensor_type.shape.CopyFrom(shape)
        self._remove_unused()
        return True

    def ends_in_sigmoid(self) -> bool:
        """Whether the outputs are those of a sigmoid."""
        last = self._last()
        return last is not None and last.op_type == "Sigmoid"

    def _last(self) -> Any:
        """The last node that computes something; None if there is none."""
        makers = {output: node for node in self._graph.node for output in node.output}
        last = makers.get(self._graph.output[0].name)
        while last is not None and last.op_type in PASSED:
            last = makers.get(last.input[0])
        return last

    def flatten_output(self, count: int) -> None:
        """Make the output a float N x ``count``."""
        old = self._graph.output[0]
        kind = old.type.tensor_type.elem_type
        name = self._append("Flatten", [old.name], "import_flat", axis=1)
        if kind not in (FLOAT, TensorProto.FLOAT16):
            kind, name = FLOAT, self._append("Cast", [name], "import_float", to=FLOAT)
        self._replace_output(name, kind, count)

    def take_logarithm(self) -> None:
        """Make the logarithm of the output the output; of 0 that of the least probability."""
        old = self._graph.output[0]
        kind, count = old.type.tensor_type.elem_type, _size(old.type.tensor_type.shape.dim[-1])
        least = self._constant(np.array(LEAST, helper.tensor_dtype_to_np_dtype(kind)), "import_least")
        name = self._append("Max", [old.name, least], "import_at_least")
        self._replace_output(self._append("Log", [name], "import_log_probabilities"), kind, count or 0)

    def prepend(
        self, shape: tuple[int, int, int], layout: Layout, scale: tuple[float, ...], offset: tuple[float, ...]
    ) -> None:
        """Make the input float N x H x W x C, multiplied and shifted by channel if ``scale`` is not empty."""
        old, kind = self._input.name, self._input.type.tensor_type.elem_type
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        for operator, values in (("Mul", scale), ("Add", offset)):
            if values:
                constant = self._constant(np.array(values, np.float32), f"import_{operator.lower()}_by")
                steps.append((operator, [constant], {}))
        if layout == "NCHW":
            steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
        if kind not in (FLOAT, TensorProto.FLOAT16) or (kind == TensorProto.FLOAT16 and scale):
            steps.append(("Cast", [], {"to": kind}))
            kind = FLOAT
        first = "import_pixels" if steps else old
        name, nodes = first, []
        for at, (operator, constants, attributes) in enumerate(steps):
            output = old if at == len(steps) - 1 else f"import_pixels_{at}"
            nodes.append(
                helper.make_node(operator, [name, *constants], [output], f"import_{operator}_{at}", **attributes)
            )
            name = output
        others = [value for value in self._graph.input if value.name != old]
        rest = list(self._graph.node)
        del self._graph.input[:], self._graph.node[:]
        self._graph.node.extend([*nodes, *rest])
        batch = "N" if self._batch is None else self._batch
        self._graph.input.extend([helper.make_tensor_value_info(first, kind, [batch, *shape]), *others])

    def content(self) -> bytes:
        """The file, with all its weights. Raises ModelError if it is too large for one file."""
        try:
            return bytes(self._model.SerializeToString(deterministic=True))
        except ValueError as error:
            raise ModelError(f"{self._file} has more than 2 GiB of weights") from error

    def _kind(self, name: str) -> int:
        """The type of a value inside, by the shapes that ONNX infers; that of the input if it does not."""
        inferred = onnx.shape_inference.infer_shapes(self._model).graph.value_info
        kinds = {value.name: int(value.type.tensor_type.elem_type) for value in inferred}
        return kinds.get(name) or int(self._input.type.tensor_type.elem_type)

    def _found_precision(self) -> Precision:
        if any(node.op_type in ROUNDING for node in self._graph.node):
            return "int8"
        sizes = dict.fromkeys((int(TensorProto.FLOAT16), FLOAT), 0)
        for tensor in self._graph.initializer:
            if tensor.data_type in sizes:
                sizes[tensor.data_type] += int(np.prod(tensor.dims))
        return "float16" if sizes[int(TensorProto.FLOAT16)] > sizes[FLOAT] else "float32"

    def _remove_unused(self) -> None:
        needed, kept = {self._graph.output[0].name}, []
        for node in reversed(self._graph.node):
            if needed & set(node.output):
                needed |= set(node.input)
                kept.append(node)
        del self._graph.node[:]
        self._graph.node.extend(kept[::-1])

    def _append(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._graph.node.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def _constant(self, values: Any, name: str) -> str:
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def _replace_output(self, name: str, kind: int, count: int) -> None:
        del self._graph.output[:]
        batch = "N" if self._batch is None else self._batch
        self._graph.output.append(helper.make_tensor_value_info(name, kind, [batch, count]))


def _size(dim: Any) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value > 0 else None

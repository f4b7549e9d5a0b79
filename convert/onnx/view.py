"""A look at an ONNX file as a graph: who gives a tensor, who reads it, what is constant."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from edge_emotion.errors import ModelError

ROUNDING = "QuantizeLinear", "DequantizeLinear"
ONNX_DOMAINS = "", "ai.onnx"


class View:
    """An ONNX model, seen through Identity. Subgraphs are not looked into."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes = [node for node in model.graph.node if node.op_type != "Identity"]
        self._same = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Identity"}
        self._producers = {output: node for node in self.nodes for output in node.output}
        self._initializers = {tensor.name: tensor for tensor in model.graph.initializer}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for tensor in node.input:
                self._readers[self._origin(tensor)].append(node)

    def of(self, *operators: str) -> list[onnx.NodeProto]:
        """The nodes with one of these operators."""
        return [node for node in self.nodes if node.op_type in operators]

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that gives a tensor; None for an input or a constant of the file."""
        return self._producers.get(self._origin(tensor))

    def readers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return self._readers[self._origin(tensor)]

    def before_rounding(self, tensor: str) -> str:
        """The tensor that Q/DQ in front of ``tensor``, if there are any, round."""
        node = self.producer(tensor)
        while node is not None and node.op_type in ROUNDING:
            tensor = node.input[0]
            node = self.producer(tensor)
        return tensor

    def before_transposes(self, tensor: str) -> str:
        """The tensor that ``tensor`` is but for the order of its axes."""
        while (node := self.producer(tensor)) is not None and node.op_type == "Transpose":
            tensor = node.input[0]
        return tensor

    def is_dequantized(self, tensor: str) -> bool:
        """Whether a tensor comes right from a DequantizeLinear."""
        node = self.producer(tensor)
        return node is not None and node.op_type == "DequantizeLinear"

    def constant(self, tensor: str) -> npt.NDArray[Any] | None:
        """The value of a constant, None for a tensor that is computed."""
        name = self._origin(tensor)
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        node = self._producers.get(name)
        if node is None or node.op_type != "Constant" or not node.attribute:
            return None
        value = helper.get_attribute_value(node.attribute[0])
        return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)

    @property
    def inputs(self) -> list[onnx.ValueInfoProto]:
        """The inputs of the file that are no constants."""
        return [value for value in self.model.graph.input if value.name not in self._initializers]

    @property
    def opset(self) -> int:
        """Version of the standard operators; 0 if the file names none."""
        return max((entry.version for entry in self.model.opset_import if entry.domain in ONNX_DOMAINS), default=0)

    @property
    def rounds(self) -> bool:
        """Whether there is any Q/DQ: else the file is float."""
        return bool(self.of(*ROUNDING))

    def _origin(self, tensor: str) -> str:
        while tensor in self._same:
            tensor = self._same[tensor]
        return tensor


def load_onnx(path: Path) -> View:
    """Read an ONNX file. Raises ModelError for one that is missing, damaged or something else."""
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise ModelError(f"cannot read ONNX file {path}: {error.strerror or error}") from error
    except (DecodeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"{path} is no valid ONNX file: {reason}; export it again") from error
    if not model.graph.node:
        raise ModelError(f"{path} is no valid ONNX file: it holds no graph; export it again")
    return View(model)


def attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute of a node."""
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)


def permutation(node: onnx.NodeProto, axes: int) -> list[int]:
    """Which axis of its input each axis of a Transpose's output is; by default all are reversed."""
    given = next((list(entry.ints) for entry in node.attribute if entry.name == "perm"), None)
    return given or list(reversed(range(axes)))


def label(node: onnx.NodeProto) -> str:
    """What a node is called: its name, or what it gives where it has none."""
    return node.name or f"{node.op_type} -> {node.output[0]}"

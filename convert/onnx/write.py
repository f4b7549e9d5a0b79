"""Writing of ONNX files: float32, float16 or with explicit Q/DQ, for onnxruntime and TensorRT's builder.

Q/DQ are placed by NVIDIA's rules for explicit quantisation (TensorRT developer guide, "Working with Quantized Types"):
before every layer with weights, on its weights, before pooling and on the skip branch of a residual addition, so that
convolution, ReLU and addition fuse. The input is that of the TFLite file, N x H x W x C, so that the preprocessing is
the same; inside, tensors are N x C x H x W. A float16 file has float32 input and output as well; its inner types are
explicit, as strongly typed TensorRT networks need them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from convert.onnx.graph import Add, Conv, Dense, Graph, Node, Pool, Relu, Weighted
from convert.onnx.scales import Scales, whole_steps
from edge_emotion import __version__
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.system.atomic_file import write_bytes

OPSETS = range(13, 18)
"""Opset 13 introduced scales per channel; the parser of TensorRT 8.6 supports none above 17."""

IR_VERSION = 8
"""IR version of opset 17's time; older readers refuse a newer one."""

INPUT, OUTPUT = "pixels", "logits"


def write_onnx(
    graph: Graph, path: Path, *, scales: Scales | None = None, half: bool = False, opset: int = OPSETS[0]
) -> Path:
    """Write the graph as an ONNX file, atomically: int8 with ``scales``, float16 with ``half``, else float32.

    Raises ConfigError for another opset than 13 to 17 and for float16 with scales, ModelError for scales that are
    missing or do not fit, and for weights outside the range of float16.
    """
    content = build_onnx(graph, scales=scales, half=half, opset=opset).SerializeToString(deterministic=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return path


def build_onnx(
    graph: Graph, *, scales: Scales | None = None, half: bool = False, opset: int = OPSETS[0]
) -> onnx.ModelProto:
    """As ``write_onnx``, in memory: float32 'pixels' N x H x W x C -> float32 'logits' N x classes, N dynamic."""
    require_opset(opset)
    if half and scales is not None:
        raise ConfigError("a file is float16 or int8: leave out the scales, or half")
    writer = _Writer(graph, scales, half)
    writer.write()
    model = helper.make_model(
        helper.make_graph(
            writer.nodes,
            graph.name,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", *graph.shape])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", graph.classes])],
            list(writer.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="edge-emotion",
        producer_version=__version__,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def require_opset(opset: int) -> None:
    """Raises ConfigError for an unsupported opset."""
    if opset not in OPSETS:
        raise ConfigError(f"opset {opset} is not one of {OPSETS[0]} to {OPSETS[-1]}")


def edge_tensor(graph: Graph, edge: str) -> str:
    """The tensor of an edge: its name, except for the file's input and output."""
    if edge == graph.output:
        return OUTPUT
    return INPUT + "_nchw" if edge == graph.input else edge


def pooled_tensor(node: Pool) -> str:
    """The output of a pooling node before it is flattened: N x C x 1 x 1."""
    return node.output + "_1x1"


def is_rounded(graph: Graph, node: Node, edge: str) -> bool:
    """Whether ``node`` reads an edge through Q/DQ: never a ReLU, nor the convolution's branch of an addition."""
    return not isinstance(node, Relu) and not (isinstance(node, Add) and edge == _fused_branch(graph, node))


def _fused_branch(graph: Graph, node: Add) -> str | None:
    """The branch from a convolution without other readers, which TensorRT fuses with the addition.

    If both branches are, the later one.
    """
    ends = [edge for edge in node.inputs if isinstance(graph.producer(edge), Conv) and len(graph.consumers(edge)) == 1]
    order = [one.output for one in graph.nodes]
    return max(ends, key=order.index, default=None)


class _Writer:
    """Converts the nodes of a graph, in order, into ONNX nodes and constants."""

    def __init__(self, graph: Graph, scales: Scales | None, half: bool) -> None:
        self._graph = graph
        self._scales = scales
        self._half = half
        self._rounded: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def write(self) -> None:
        """Convert all nodes of the graph."""
        self._write_input()
        for node in self._graph.nodes:
            inputs = [self._read(node, edge) for edge in node.inputs]
            if isinstance(node, Conv):
                self._write_conv(node, inputs[0])
            elif isinstance(node, Dense):
                self._emit("Gemm", node, [inputs[0], *self._weights(node)], transB=1)
            elif isinstance(node, Relu):
                self._write_relu(node, inputs[0])
            elif isinstance(node, Add):
                self._emit("Add", node, inputs)
            elif isinstance(node, Pool):
                self._write_pool(node, inputs[0])
            else:
                raise ModelError(f"cannot write {type(node).__name__} {node.name!r} as ONNX")
        if self._half:
            self._append("Cast", "to_float32", [self._edge(self._graph.output)], OUTPUT, to=TensorProto.FLOAT)

    def _write_input(self) -> None:
        """Move the channels to the front; with one channel this moves no data."""
        height, width, channels = self._graph.shape
        edge = self._edge(self._graph.input)
        moved = edge + "_float32" if self._half else edge
        if channels == 1:
            shape = self._constant("input_shape", np.array([0, 1, height, width], np.int64))
            self._append("Reshape", "channels_first", [INPUT, shape], moved)
        else:
            self._append("Transpose", "channels_first", [INPUT], moved, perm=[0, 3, 1, 2])
        if self._half:
            self._append("Cast", "to_float16", [moved], edge, to=TensorProto.FLOAT16)

    def _write_conv(self, node: Conv, source: str) -> None:
        self._emit(
            "Conv",
            node,
            [source, *self._weights(node)],
            kernel_shape=list(node.kernel.shape[2:]),
            strides=list(node.strides),
            dilations=list(node.dilations),
            pads=list(node.pads),
            group=node.groups,
        )

    def _write_relu(self, node: Relu, source: str) -> None:
        if node.limit is None:
            self._emit("Relu", node, [source])
            return
        low, high = self._number("zero", np.float32(0)), self._number(f"limit_{node.limit:g}", np.float32(node.limit))
        self._emit("Clip", node, [source, low, high])

    def _write_pool(self, node: Pool, source: str) -> None:
        picture = pooled_tensor(node)
        self._append("GlobalAveragePool", node.name, [source], picture)
        self._append("Flatten", node.name + "_flatten", [picture], self._edge(node.output), axis=1)

    def _read(self, node: Node, edge: str) -> str:
        """The tensor through which a node reads an edge; all readers share one pair of Q/DQ."""
        tensor = self._edge(edge)
        if self._scales is None or not is_rounded(self._graph, node, edge):
            return tensor
        if edge not in self._rounded:
            self._rounded.add(edge)
            scale = self._constant(edge + "_scale", np.float32(self._scales.activation(edge)))
            self._round(tensor, edge, scale, self._constant("zero_point", np.int8(0)))
        return edge + "_dequantized"

    def _weights(self, node: Weighted) -> list[str]:
        """Kernel and bias: the kernel as float with Q/DQ, which every version reads, the bias as float."""
        kernel, bias = node.name + "_kernel", self._number(node.name + "_bias", node.bias)
        if self._scales is None:
            return [self._number(kernel, node.kernel), bias]
        scales = self._scales.weight(node)
        # Whole steps: QuantizeLinear yields these integers in every runtime, never -128, and the file compresses well.
        step = scales.reshape(-1, *[1] * (node.kernel.ndim - 1))
        self._constant(kernel, whole_steps(node.kernel, step) * step)
        scale = self._constant(kernel + "_scale", scales)
        # Of its own: onnxruntime's exact int8 on processors without VNNI replaces it, and refuses one that is shared.
        zeros = self._constant(f"{kernel}_zero_points", np.zeros(len(scales), np.int8))
        self._round(kernel, kernel, scale, zeros, axis=0)
        return [kernel + "_dequantized", bias]

    def _round(self, tensor: str, name: str, scale: str, zero_point: str, **attributes: Any) -> None:
        quantized, dequantized = name + "_quantized", name + "_dequantized"
        self._append("QuantizeLinear", name + "_quantize", [tensor, scale, zero_point], quantized, **attributes)
        self._append(
            "DequantizeLinear", name + "_dequantize", [quantized, scale, zero_point], dequantized, **attributes
        )

    def _edge(self, edge: str) -> str:
        """The tensor of an edge; in a float16 file the logits have one of their own before the final cast."""
        tensor = edge_tensor(self._graph, edge)
        return tensor + "_float16" if self._half and tensor == OUTPUT else tensor

    def _number(self, name: str, value: npt.ArrayLike) -> str:
        """Add a constant in the file's arithmetic type."""
        if not self._half:
            return self._constant(name, value)
        if np.abs(value).max(initial=0) > np.finfo(np.float16).max:
            raise ModelError(f"{name} holds values that float16 cannot: use float32, or int8")
        return self._constant(name, np.asarray(value, np.float16))

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def _emit(self, operator: str, node: Node, inputs: list[str], **attributes: Any) -> None:
        self._append(operator, node.name, inputs, self._edge(node.output), **attributes)

    def _append(self, operator: str, name: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))

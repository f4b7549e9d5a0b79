"""Rules for ONNX files with explicit Q/DQ for TensorRT, which also apply to files of other exporters.

They are those of NVIDIA's TensorRT developer guide, "Working with Quantized Types" (symmetric int8, Q/DQ placement
around layers that fuse), and two of this project: a dynamic batch axis, and only operators that other readers of ONNX
have. A file without Q/DQ is float; only the rules about its form apply to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from convert.onnx.view import ONNX_DOMAINS, ROUNDING, View, attribute, label, load_onnx, permutation
from convert.onnx.write import IR_VERSION, OPSETS

WEIGHTED = "Conv", "Gemm", "MatMul"
ACTIVATIONS = "Clip", "Relu"
INTEGER = "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"

Faults = Iterator[tuple[str, str]]
"""(place, fault) pairs; the place is a node or a part of the file."""


class Finding(NamedTuple):
    """A broken rule: place, name of the rule, fault, remedy."""

    node: str
    rule: str
    fault: str
    fix: str


class Rule(NamedTuple):
    """A rule: its name, a function that finds where it is broken, and the remedy."""

    name: str
    find: Callable[[View], Faults]
    fix: str


def check_onnx(path: Path) -> list[Finding]:
    """All findings in a file, in the rules' order. Raises ModelError for a file that is not ONNX."""
    return findings(load_onnx(path))


def findings(view: View) -> list[Finding]:
    """As ``check_onnx``, for a file that was read before."""
    rules = (*FORM, *EXPLICIT) if view.rounds else FORM
    return [Finding(node, rule.name, fault, rule.fix) for rule in rules for node, fault in rule.find(view)]


# The form of any file


def _opset(view: View) -> Faults:
    if view.opset not in OPSETS:
        yield "file", f"opset {view.opset}"


def _ir_version(view: View) -> Faults:
    if view.model.ir_version > IR_VERSION:
        yield "file", f"IR version {view.model.ir_version}"


def _operators(view: View) -> Faults:
    for node in view.nodes:
        if node.domain not in ONNX_DOMAINS:
            yield label(node), f"operator {node.domain}.{node.op_type} is not of ONNX itself"
        elif node.op_type in INTEGER:
            yield label(node), f"{node.op_type} is no explicit Q/DQ"


def _free_batch(view: View) -> Faults:
    for value in view.inputs:
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and dimensions[0].HasField("dim_value"):
            yield value.name, f"the batch axis is fixed to {dimensions[0].dim_value}"


def _float_logits(view: View) -> Faults:
    for value in view.model.graph.output:
        node = view.producer(value.name)
        rounded = node is not None and node.op_type in ROUNDING
        if rounded or value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            yield value.name, "the output is rounded" if rounded else "the output is no float32"


def _batch_norm(view: View) -> Faults:
    for node in view.of("BatchNormalization"):
        yield label(node), "batch norm is not folded"


def _pads(view: View) -> Faults:
    for node in view.of("Pad"):
        if any(view.producer(view.before_rounding(conv.input[0])) is node for conv in view.of("Conv")):
            yield label(node), "a Pad stands in front of a convolution"


FORM = (
    Rule("opset", _opset, f"export opset {OPSETS[0]} to {OPSETS[-1]}"),
    Rule("ir-version", _ir_version, f"set ir_version {IR_VERSION}"),
    Rule("operator", _operators, "export standard operators, with QuantizeLinear and DequantizeLinear around them"),
    Rule("batch-axis", _free_batch, "make the first axis of the input dynamic"),
    Rule("float-logits", _float_logits, "end the file in the last layer, with a float32 output"),
    Rule("batch-norm", _batch_norm, "fold it into the convolution"),
    Rule("pad", _pads, "merge it into the convolution's pads"),
)


# Form of Q/DQ


def _types(view: View) -> Faults:
    for node in view.of(*ROUNDING):
        zeros = _zero_point(view, node)
        if zeros is not None and zeros.dtype != np.int8:
            yield label(node), f"it rounds to {zeros.dtype}"


def _zero_points(view: View) -> Faults:
    for node in view.of(*ROUNDING):
        zeros = _zero_point(view, node)
        if zeros is None:
            yield label(node), "the zero point is no constant"
        elif zeros.any():
            yield label(node), f"the zero point is {zeros.flat[np.flatnonzero(zeros)[0]]}"


def _scales(view: View) -> Faults:
    for node in view.of(*ROUNDING):
        scale = view.constant(node.input[1])
        if scale is None:
            yield label(node), "the scale is no constant"
        elif not (np.isfinite(scale) & (scale > 0)).all():
            yield label(node), "a scale is not above 0"


def _per_tensor(view: View) -> Faults:
    for node in view.of("QuantizeLinear"):
        scale = view.constant(node.input[1])
        weights = view.constant(view.before_transposes(node.input[0]))
        if weights is None and scale is not None and scale.size > 1:
            yield label(node), f"an activation has {scale.size} scales"


def _zero_point(view: View, node: onnx.NodeProto) -> Any:
    """The zero point as array, None if it is computed; uint8 zero if there is none, as in the standard."""
    if len(node.input) > 2 and node.input[2]:
        return view.constant(node.input[2])
    return np.zeros((), np.uint8)


# Places of Q/DQ


class _Kernel(NamedTuple):
    """A layer and its weights as stored in the file, before the Q/DQ and Transpose nodes that lead to the layer.

    ``rounding``: these Q/DQ nodes, beginning at the layer. ``axis``: axis of the output channels in ``values``;
    ``rounded_axis``: the same at the DequantizeLinear.
    """

    node: onnx.NodeProto
    values: npt.NDArray[Any]
    rounding: tuple[onnx.NodeProto, ...]
    axis: int
    rounded_axis: int

    @property
    def dequantize(self) -> onnx.NodeProto | None:
        return next((node for node in self.rounding if node.op_type == "DequantizeLinear"), None)


def _kernels(view: View) -> Iterator[_Kernel]:
    """The layers with weights; matrix products only if one factor is constant."""
    for node in view.of(*WEIGHTED):
        path, tensor = [], node.input[1]
        while (made := view.producer(tensor)) is not None and made.op_type in (*ROUNDING, "Transpose"):
            path.append(made)
            tensor = made.input[0]
        values = view.constant(tensor)
        if values is None:
            continue
        axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else values.ndim - 1
        rounded_axis = None
        for made in path:
            if made.op_type == "Transpose":
                axis = permutation(made, values.ndim)[axis]
            elif rounded_axis is None:
                rounded_axis = axis
        rounding = tuple(made for made in path if made.op_type in ROUNDING)
        yield _Kernel(node, values, rounding, axis, axis if rounded_axis is None else rounded_axis)


def _weights(view: View) -> Faults:
    for kernel in _kernels(view):
        if kernel.dequantize is None:
            yield label(kernel.node), "its weights carry no Q/DQ"
        elif all(node.op_type == "DequantizeLinear" for node in kernel.rounding):
            yield label(kernel.node), "its weights are stored as integers"


def _channels(view: View) -> Faults:
    for kernel in _kernels(view):
        scale = None if kernel.dequantize is None else view.constant(kernel.dequantize.input[1])
        if kernel.dequantize is None or scale is None:
            continue
        channels, along = kernel.values.shape[kernel.axis], attribute(kernel.dequantize, "axis", 1)
        if scale.size != channels:
            yield label(kernel.node), f"its weights have {scale.size} scales for {channels} output channels"
        elif scale.size > 1 and along % kernel.values.ndim != kernel.rounded_axis:
            yield label(kernel.node), f"the scales of its weights lie along axis {along}"


def _weighted(view: View) -> list[onnx.NodeProto]:
    return [kernel.node for kernel in _kernels(view)]


def _inputs(view: View) -> Faults:
    for node in (*_weighted(view), *view.of("GlobalAveragePool", "AveragePool")):
        if not view.is_dequantized(node.input[0]):
            yield label(node), f"the input of this {node.op_type} is not rounded"


def _biases(view: View) -> Faults:
    for node in _weighted(view):
        if len(node.input) > 2 and view.is_dequantized(node.input[2]):
            yield label(node), "its bias carries Q/DQ"


def _activations(view: View) -> Faults:
    for node in view.of(*ACTIVATIONS):
        origin = view.producer(view.before_rounding(node.input[0]))
        if view.is_dequantized(node.input[0]) and origin is not None and origin.op_type in WEIGHTED:
            yield label(node), f"Q/DQ stand between it and {label(origin)}"


def _residuals(view: View) -> Faults:
    for node in view.of("Add"):
        branches = [tensor for tensor in node.input if view.constant(view.before_rounding(tensor)) is None]
        if len(branches) < 2:
            continue
        if all(map(view.is_dequantized, branches)):
            for tensor in filter(lambda branch: _could_fuse(view, branch), branches[-1:] + branches[:-1]):
                yield label(node), f"the branch of {label(_origin(view, tensor))} is rounded"
                break
        else:
            yield from _skips(view, node, branches)


def _skips(view: View, node: onnx.NodeProto, branches: list[str]) -> Faults:
    """Faults of the branches in float: one may be a convolution, which adds the others."""
    floats = [tensor for tensor in branches if not view.is_dequantized(tensor)]
    convolutions = [tensor for tensor in floats if (made := view.producer(tensor)) and made.op_type == "Conv"]
    for tensor in floats:
        if tensor not in convolutions[-1:]:
            yield label(node), f"its skip branch {tensor!r} is not rounded"


def _could_fuse(view: View, branch: str) -> bool:
    """Whether a rounded branch is a convolution with no other reader."""
    origin = view.before_rounding(branch)
    made = view.producer(origin)
    alone = len(view.readers(origin)) == len(view.readers(branch)) == 1
    return made is not None and made.op_type == "Conv" and alone


def _origin(view: View, branch: str) -> onnx.NodeProto:
    made = view.producer(view.before_rounding(branch))
    assert made is not None
    return made


EXPLICIT = (
    Rule("int8", _types, "use int8: TensorRT supports no uint8 and no wider integers here"),
    Rule("zero-point", _zero_points, "quantise symmetrically: every zero point is 0"),
    Rule("scale", _scales, "calibrate again: every scale is a constant above 0"),
    Rule("per-tensor-activation", _per_tensor, "give an activation one scale"),
    Rule("weight", _weights, "store them as float32, with QuantizeLinear and DequantizeLinear behind them"),
    Rule("per-channel-weight", _channels, "give each output channel a scale: axis 0 of Conv, and of Gemm with transB"),
    Rule("rounded-input", _inputs, "put Q/DQ in front of it"),
    Rule("float-bias", _biases, "store it as float32"),
    Rule("conv-activation", _activations, "round behind the activation only"),
    Rule("residual", _residuals, "round the skip branch only, so that the convolution can add it"),
)

"""``check-onnx``: every rule finds what breaks it, in files of ours that were spoilt and in files of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import helper, numpy_helper
from support.onnx_models import write_model
from support.small_graph import GRAPH, SCALES

from convert.cli import main
from convert.onnx.rules import EXPLICIT, FORM, check_onnx, findings
from convert.onnx.scales import Scales
from convert.onnx.view import View, load_onnx
from convert.onnx.write import build_onnx, write_onnx
from edge_emotion.errors import ModelError

RANDOM = np.random.default_rng(0)


Model = onnx.ModelProto


def good() -> Model:
    return build_onnx(GRAPH, scales=SCALES)


def node(model: Model, name: str) -> onnx.NodeProto:
    return next(one for one in model.graph.node if one.name == name)


def replace_constant(model: Model, name: str, value: Any) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def set_attribute(one: onnx.NodeProto, name: str, value: int) -> None:
    kept = [attribute for attribute in one.attribute if attribute.name != name]
    del one.attribute[:]
    one.attribute.extend([*kept, helper.make_attribute(name, value)])


def round_again(model: Model, tensor: str, reader: str) -> None:
    """Puts Q/DQ between a tensor and one of its readers."""
    scale = ["pool_scale", "zero_point"]
    target = node(model, reader)
    place = list(model.graph.node).index(target)
    pair = [
        helper.make_node("QuantizeLinear", [tensor, *scale], [tensor + "_q2"], tensor + "_q2"),
        helper.make_node("DequantizeLinear", [tensor + "_q2", *scale], [tensor + "_dq2"], tensor + "_dq2"),
    ]
    target.input[list(target.input).index(tensor)] = tensor + "_dq2"
    for one in reversed(pair):
        model.graph.node.insert(place, one)


def opset(model: Model) -> None:
    model.opset_import[0].version = 18


def ir_version(model: Model) -> None:
    model.ir_version = 10


def foreign_operator(model: Model) -> None:
    node(model, "stem_relu").op_type, node(model, "stem_relu").domain = "QuickGelu", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def fixed_batch(model: Model) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def rounded_logits(model: Model) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["raw"], "raw"))
    round_again(model, "logits", "raw")
    model.graph.output[0].name = "raw"


def batch_norm(model: Model) -> None:
    target = node(model, "stem")
    target.output[0] = "stem_raw"
    place = list(model.graph.node).index(target) + 1
    norm = helper.make_node("BatchNormalization", ["stem_raw", *["stem_bias"] * 4], ["stem"], "norm")
    model.graph.node.insert(place, norm)


def pad(model: Model) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"))
    first = node(model, "pixels_quantize")
    place = list(model.graph.node).index(first)
    model.graph.node.insert(place, helper.make_node("Pad", [first.input[0], "pads"], ["padded"], "pad"))
    first.input[0] = "padded"


def unsigned(model: Model) -> None:
    replace_constant(model, "zero_point", np.uint8(0))


def no_zero_point(model: Model) -> None:
    del node(model, "pool_quantize").input[2]
    del node(model, "pool_dequantize").input[2]


def moved_zero(model: Model) -> None:
    replace_constant(model, "zero_point", np.int8(-128))


def scale_zero(model: Model) -> None:
    replace_constant(model, "pool_scale", np.float32(0))


def scales_of_activation(model: Model) -> None:
    replace_constant(model, "pool_scale", np.full(4, 0.05, np.float32))


def bare_weights(model: Model) -> None:
    node(model, "project").input[1] = "project_kernel"


def integer_weights(model: Model) -> None:
    dequantize = node(model, "project_kernel_dequantize")
    scale = SCALES.weights["project"].reshape(-1, 1, 1, 1)
    kernel = GRAPH.weighted[1].kernel
    dequantize.input[0] = "integers"
    model.graph.initializer.append(numpy_helper.from_array(np.rint(kernel / scale).astype(np.int8), "integers"))
    model.graph.node.remove(node(model, "project_kernel_quantize"))


def scale_per_tensor(model: Model) -> None:
    for name in ("quantize", "dequantize"):
        one = node(model, f"project_kernel_{name}")
        one.input[1], one.input[2] = "pool_scale", "zero_point"


def other_axis(model: Model) -> None:
    for name in ("quantize", "dequantize"):
        set_attribute(node(model, f"project_kernel_{name}"), "axis", 1)


def float_input(model: Model) -> None:
    node(model, "project").input[0] = "stem_relu"


def float_pool(model: Model) -> None:
    node(model, "pool").input[0] = "sum"


def rounded_bias(model: Model) -> None:
    round_again(model, "project_bias", "project")


def rounded_before_relu(model: Model) -> None:
    round_again(model, "stem", "stem_relu")


def rounded_conv_branch(model: Model) -> None:
    round_again(model, "project", "sum")


def float_skip(model: Model) -> None:
    node(model, "sum").input[0] = "stem_relu"


BREAKS: tuple[tuple[Callable[[Model], None], str, str], ...] = (
    (opset, "opset", "file"),
    (ir_version, "ir-version", "file"),
    (foreign_operator, "operator", "stem_relu"),
    (fixed_batch, "batch-axis", "pixels"),
    (rounded_logits, "float-logits", "raw"),
    (batch_norm, "batch-norm", "norm"),
    (pad, "pad", "pad"),
    (unsigned, "int8", "pool_quantize"),
    (no_zero_point, "int8", "pool_quantize"),
    (moved_zero, "zero-point", "pool_quantize"),
    (scale_zero, "scale", "pool_quantize"),
    (scales_of_activation, "per-tensor-activation", "pool_quantize"),
    (bare_weights, "weight", "project"),
    (integer_weights, "weight", "project"),
    (scale_per_tensor, "per-channel-weight", "project"),
    (other_axis, "per-channel-weight", "project"),
    (float_input, "rounded-input", "project"),
    (float_pool, "rounded-input", "pool"),
    (rounded_bias, "float-bias", "project"),
    (rounded_before_relu, "conv-activation", "stem_relu"),
    (rounded_conv_branch, "residual", "sum"),
    (float_skip, "residual", "sum"),
)


def test_a_good_file_breaks_no_rule() -> None:
    assert findings(View(good())) == []
    assert findings(View(build_onnx(GRAPH))) == []


def test_weights_beyond_their_range_are_clipped_as_training_clips_them() -> None:
    narrow = Scales(SCALES.activations, {**SCALES.weights, "fc": SCALES.weights["fc"] / 2})
    kernel = next(one for one in build_onnx(GRAPH, scales=narrow).graph.initializer if one.name == "fc_kernel")
    steps = numpy_helper.to_array(kernel) / narrow.weights["fc"][:, None]
    assert np.abs(steps).max() == pytest.approx(127)


@pytest.mark.parametrize(("spoil", "rule", "place"), BREAKS, ids=[one[0].__name__ for one in BREAKS])
def test_each_break_is_found_by_its_rule_alone(spoil: Callable[[Model], None], rule: str, place: str) -> None:
    model = good()
    spoil(model)
    found = findings(View(model))
    assert {one.rule for one in found} == {rule}
    assert place in {one.node for one in found}
    assert all(one.fault and one.fix for one in found)


def test_every_rule_is_broken_by_a_test() -> None:
    assert {rule.name for rule in (*FORM, *EXPLICIT)} == {rule for _, rule, _ in BREAKS}


def test_a_float_file_needs_no_rounding() -> None:
    model = build_onnx(GRAPH)
    batch_norm(model)
    assert [one.rule for one in findings(View(model))] == ["batch-norm"]


def test_identity_and_constant_nodes_are_seen_through() -> None:
    model = good()
    for position, tensor in enumerate(list(model.graph.initializer)):
        model.graph.node.insert(position, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.initializer[:]
    sum_node = node(model, "sum")
    model.graph.node.insert(list(model.graph.node).index(sum_node), helper.make_node("Identity", ["project"], ["same"]))
    sum_node.input[1] = "same"
    assert findings(View(model)) == []
    rounded_before_relu(model)
    assert [one.rule for one in findings(View(model))] == ["conv-activation"]


# Files of others


def transposed_dense(model: Model) -> None:
    """As exports of PyTorch have it: the weights rounded along their outputs, and then transposed for the product."""
    target = node(model, "fc")
    set_attribute(target, "transB", 0)
    place = list(model.graph.node).index(target)
    model.graph.node.insert(place, helper.make_node("Transpose", [target.input[1]], ["turned"], "turn", perm=[1, 0]))
    target.input[1] = "turned"


def dense_transposed_before_rounding(model: Model) -> None:
    """The weights in the file lie as inputs x outputs; without ``perm`` all axes are reversed."""
    kernel = next(one for one in model.graph.initializer if one.name == "fc_kernel")
    replace_constant(model, "fc_kernel", np.ascontiguousarray(numpy_helper.to_array(kernel).T))
    first = node(model, "fc_kernel_quantize")
    place = list(model.graph.node).index(first)
    model.graph.node.insert(place, helper.make_node("Transpose", ["fc_kernel"], ["turned"], "turn"))
    first.input[0] = "turned"


@pytest.mark.parametrize("turn", [transposed_dense, dense_transposed_before_rounding])
def test_weights_are_seen_through_a_transpose(turn: Callable[[Model], None]) -> None:
    model = good()
    turn(model)
    onnx.checker.check_model(model, full_check=True)
    assert findings(View(model)) == []
    for name in ("quantize", "dequantize"):
        one = node(model, f"fc_kernel_{name}")
        one.input[1], one.input[2] = "pool_scale", "zero_point"
    node(model, "fc").input[0] = "pool"
    assert [(one.node, one.rule) for one in findings(View(model))] == [
        ("fc", "per-channel-weight"),
        ("fc", "rounded-input"),
    ]


def test_scales_along_the_inputs_are_seen_through_a_transpose() -> None:
    model = good()
    transposed_dense(model)
    for name in ("quantize", "dequantize"):
        set_attribute(node(model, f"fc_kernel_{name}"), "axis", 1)
    assert [one.fault for one in findings(View(model))] == ["the scales of its weights lie along axis 1"]


def test_weights_without_rounding_are_seen_through_a_transpose() -> None:
    model = good()
    transposed_dense(model)
    node(model, "turn").input[0] = "fc_kernel"
    assert [(one.node, one.rule) for one in findings(View(model))] == [("fc", "weight")]


class Batches:
    """Calibration data as onnxruntime's quantiser wants it."""

    def __init__(self) -> None:
        self._left = [{"pixels": RANDOM.uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)} for _ in range(4)]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None


def test_what_onnxruntime_quantises_by_itself_is_not_for_tensorrt(tmp_path: Path) -> None:
    quantisation = pytest.importorskip("onnxruntime.quantization")
    plain, rounded = write_onnx(GRAPH, tmp_path / "float.onnx"), tmp_path / "ort.onnx"
    quantisation.quantize_static(plain, rounded, Batches())
    assert {one.rule for one in check_onnx(rounded)} >= {"zero-point", "per-channel-weight", "float-bias"}


def test_a_file_in_the_integer_format_is_not_explicit(tmp_path: Path) -> None:
    quantisation = pytest.importorskip("onnxruntime.quantization")
    plain, rounded = write_onnx(GRAPH, tmp_path / "float.onnx"), tmp_path / "qoperator.onnx"
    quantisation.quantize_static(plain, rounded, Batches(), quant_format=quantisation.QuantFormat.QOperator)
    assert "operator" in {one.rule for one in check_onnx(rounded)}


# The command


def test_the_command_lists_findings_and_fails(tmp_path: Path, capsys: Any) -> None:
    model = good()
    moved_zero(model)
    onnx.save(model, tmp_path / "bad.onnx")
    assert main(["check-onnx", str(tmp_path / "bad.onnx")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pixels_quantize: [zero-point] the zero point is -128; quantise symmetrically")
    assert lines[-1].endswith(f"explicit Q/DQ, opset 13, {len(lines) - 1} findings")
    assert main(["check-onnx", str(tmp_path / "bad.onnx"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found[0].keys() == {"node", "rule", "fault", "fix"}
    assert len(found) == len(lines) - 1


def test_a_float_file_says_so(tmp_path: Path, capsys: Any) -> None:
    assert main(["check-onnx", str(write_model(tmp_path / "float.onnx"))]) == 0
    assert capsys.readouterr().out.endswith("float, no Q/DQ, opset 13, no findings\n")


@pytest.mark.parametrize("content", [None, b"", b"hello, world", good().SerializeToString()[:-100]])
def test_what_is_no_onnx_file_is_one_line(content: bytes | None, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "file.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main(["check-onnx", str(path)]) == 4
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert str(path) in error
    assert "\n" not in error


def test_a_folder_and_a_file_without_its_external_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read ONNX file"):
        load_onnx(tmp_path)
    path = tmp_path / "large.onnx"
    onnx.save(good(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"large\.onnx"):
        load_onnx(path)

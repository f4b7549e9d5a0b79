"""Float16 files: computed in float16 between float32 ends, and what TensorRT's builder takes as float16."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from support.small_graph import GRAPH, SCALES
from support.tensorrt_stage import PAIRS, Stage

from convert.onnx.rules import check_onnx, findings
from convert.onnx.view import View
from convert.onnx.write import OPSETS, build_onnx, write_onnx
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.errors import ConfigError, ModelError

FLOAT, HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


def pixels(count: int) -> np.ndarray:
    return (np.random.default_rng(0).integers(-128, 128, (count, *GRAPH.shape)) / 128).astype(np.float32)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_is_valid_and_breaks_no_rule(opset: int) -> None:
    model = build_onnx(GRAPH, half=True, opset=opset)
    onnx.checker.check_model(model, full_check=True)
    assert findings(View(model)) == []


@pytest.mark.parametrize("channels", [1, 3])
def test_everything_between_the_casts_is_float16(channels: int) -> None:
    stem = GRAPH.nodes[0]
    graph = replace(
        GRAPH,
        shape=(8, 8, channels),
        nodes=(replace(stem, kernel=stem.kernel[:, :channels]), *GRAPH.nodes[1:]),
    )
    model = onnx.shape_inference.infer_shapes(build_onnx(graph, half=True), strict_mode=True).graph
    ends = [(value.name, value.type.tensor_type.elem_type) for value in (*model.input, *model.output)]
    assert ends == [("pixels", FLOAT), ("logits", FLOAT)]
    types = {value.name: value.type.tensor_type.elem_type for value in model.value_info}
    first, cast, *between, last = model.node
    assert (types[first.output[0]], cast.op_type, last.op_type) == (FLOAT, "Cast", "Cast")
    assert {types[name] for node in (cast, *between) for name in node.output} == {HALF}
    weights = [tensor for tensor in model.initializer if tensor.name != "input_shape"]
    assert {tensor.data_type for tensor in weights} == {HALF}


def test_it_computes_what_the_float32_file_computes(tmp_path: Path) -> None:
    exact, half = (OnnxBackend(write_onnx(GRAPH, tmp_path / f"{half}.onnx", half=half)) for half in (False, True))
    ours, theirs = half.run(pixels(8))[0], exact.run(pixels(8))[0]
    assert ours.dtype == np.float32
    assert 0 < np.abs(ours - theirs).max() < 0.01 * np.ptp(theirs)
    assert (tmp_path / "True.onnx").stat().st_size < (tmp_path / "False.onnx").stat().st_size
    assert check_onnx(tmp_path / "True.onnx") == []


def test_weights_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    *others, last = GRAPH.nodes
    graph = replace(GRAPH, nodes=(*others, replace(last, kernel=last.kernel * 1e6)))
    with pytest.raises(ModelError, match="fc_kernel holds values that float16 cannot"):
        write_onnx(graph, tmp_path / "file.onnx", half=True)
    with pytest.raises(ConfigError, match="float16 or int8"):
        write_onnx(GRAPH, tmp_path / "file.onnx", half=True, scales=SCALES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
def test_every_tensorrt_takes_it_as_float16(tmp_path: Path, versions: tuple[str, str]) -> None:
    content = build_onnx(GRAPH, half=True).SerializeToString()
    backend = Stage(tmp_path, versions).backend(content, precision="float16")
    exact = OnnxBackend(write_onnx(GRAPH, tmp_path / "float32.onnx")).run(pixels(3))[0]
    assert np.abs(backend.run(pixels(3))[0] - exact).max() < 0.01 * np.ptp(exact)
    backend.close()

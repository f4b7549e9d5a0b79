"""The calibration cache for TensorRT without Q/DQ: its names are those of the float32 file, its scales the measured."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from support.small_graph import GRAPH
from support.tensorrt_stage import PAIRS, Stage

from convert.cli import main
from convert.onnx.calibration_cache import tensor_scales
from convert.onnx.graph import Graph
from convert.onnx.write import build_onnx
from edge_emotion.backends.tensorrt.calibration import cache_of_scales, calibration_cache, read_scales
from edge_emotion.errors import ModelError

NORMED: Graph = replace(
    GRAPH,
    nodes=tuple(
        replace(
            node,
            output={"stem": "stem_BN", "project": "project_BN"}.get(node.output, node.output),
            inputs=tuple({"stem": "stem_BN", "project": "project_BN"}.get(edge, edge) for edge in node.inputs),
        )
        for node in GRAPH.nodes
    ),
)
"""As the float network gives it: what a folded batch norm gave has the batch norm's name."""
LAYERS = {"pixels": 1 / 128, "stem_relu": 6 / 127, "project": 0.02, "sum": 0.06, "pool": 0.03, "fc": 0.1}
"""Scales as ``calibrate`` gives them: by the layers of the folded network, none for what fuses with a ReLU."""


def test_every_tensor_between_pixels_and_logits_has_the_scale_of_its_layer() -> None:
    scales = tensor_scales(NORMED, LAYERS)
    assert scales == {
        "pixels": 1 / 128,
        "pixels_nchw": 1 / 128,
        "stem_BN": 6 / 127,
        "stem_relu": 6 / 127,
        "project_BN": 0.02,
        "sum": 0.06,
        "pool_1x1": 0.03,
        "pool": 0.03,
    }
    model = build_onnx(NORMED).graph
    onnx.checker.check_graph(model)
    assert set(scales) == {"pixels", *(name for node in model.node for name in node.output)} - {"logits"}


def test_a_layer_without_a_scale_is_named() -> None:
    with pytest.raises(ModelError, match="layer 'project' has no scale"):
        tensor_scales(NORMED, {name: scale for name, scale in LAYERS.items() if name != "project"})


def test_the_cache_is_the_text_that_tensorrt_reads(tmp_path: Path) -> None:
    scales = tensor_scales(NORMED, LAYERS)
    file = tmp_path / "small.cache"
    file.write_bytes(cache_of_scales((8, 6, 2), scales))
    lines = file.read_text(encoding="ascii").splitlines()
    assert lines[0] == "TRT-8602-EntropyCalibration2"
    assert lines[1:3] == ["pixels: 3c000000", "pixels_nchw: 3c000000"]
    assert f"stem_BN: {struct.pack('>f', 6 / 127).hex()}" in lines
    assert len(lines) == 1 + len(scales)
    assert read_scales(file) == pytest.approx(scales, rel=1e-6)


@pytest.mark.parametrize("versions", PAIRS[:3], ids="-".join)
def test_a_device_makes_int8_of_the_float_file_by_the_cache(tmp_path: Path, versions: tuple[str, str]) -> None:
    file = tmp_path / "small.cache"
    file.write_bytes(cache_of_scales((8, 6, 2), tensor_scales(NORMED, LAYERS)))
    stage, scales = Stage(tmp_path, versions), read_scales(file)
    stage.backend(build_onnx(NORMED).SerializeToString(), precision="int8", scales=scales).close()
    (record,) = stage.trt.builds
    assert record["calibration"] == calibration_cache(stage.trt, scales).decode()
    assert "INT8" in record["flags"]


@pytest.mark.parametrize("version", ["11.4.0", "8.6", "new"])
def test_a_version_without_calibrators_is_refused(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["onnx", "run", "--data", "data", "--out", "out", "--calibration-cache", "file", "--tensorrt", version])
    assert f"{version} is no TensorRT with calibrators, such as 8.6.2 or 10.3.0" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "TRT-8602-EntropyCalibration2\n", "TRT-8602\nname 3c00\n", "a: 3c010a14\n", "\0"])
def test_what_is_no_cache_is_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "some.cache"
    file.write_text(text)
    with pytest.raises(ModelError, match=r"some\.cache is no calibration cache"):
        read_scales(file)
    with pytest.raises(ModelError, match="cannot read calibration cache"):
        read_scales(tmp_path / "absent.cache")

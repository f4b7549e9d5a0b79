"""What the builder asks of each version of TensorRT; the fake refuses what that version would refuse."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper
from support.tensorrt_stage import PAIRS, Network, Stage

from edge_emotion.backends.tensorrt.calibration import calibration_cache
from edge_emotion.errors import BackendUnavailable, ModelError

WEAK, STRONG = PAIRS[0], PAIRS[1:]
SCALES = {"pixels": 1 / 127, "relu6": 6 / 127}
CONTENT = {
    "int8": lambda: Network(quantised=True).content,
    "float16": lambda: Network(TensorProto.FLOAT16).content,
    "float32": lambda: Network().content,
}


def built(stage: Stage, precision: str, content: bytes | None = None, **options: Any) -> dict[str, Any]:
    stage.backend(content or CONTENT[precision](), precision=precision, **options).close()
    (record,) = stage.trt.builds
    return dict(record)


@pytest.mark.parametrize(
    ("precision", "flags"), [("int8", ["FP16", "INT8", "TF32"]), ("float16", ["FP16", "TF32"]), ("float32", [])]
)
def test_8_6_is_told_the_types_by_flags(tmp_path: Path, precision: str, flags: list[str]) -> None:
    record = built(Stage(tmp_path, WEAK), precision)
    assert record["creation"] == ["EXPLICIT_BATCH"]
    assert record["flags"] == flags


@pytest.mark.parametrize("versions", STRONG, ids="-".join)
@pytest.mark.parametrize(("precision", "flags"), [("int8", ["TF32"]), ("float16", ["TF32"]), ("float32", [])])
def test_later_versions_take_the_types_from_the_file(
    tmp_path: Path, versions: tuple[str, str], precision: str, flags: list[str]
) -> None:
    record = built(Stage(tmp_path, versions), precision)
    assert "STRONGLY_TYPED" in record["creation"]
    assert record["flags"] == flags


def test_8_6_makes_float16_of_a_float32_file(tmp_path: Path) -> None:
    assert "FP16" in built(Stage(tmp_path, WEAK), "float16", CONTENT["float32"]())["flags"]


@pytest.mark.parametrize("versions", STRONG, ids="-".join)
def test_a_float32_file_is_not_passed_off_as_float16(tmp_path: Path, versions: tuple[str, str]) -> None:
    with pytest.raises(ModelError, match="no float16 tensors"):
        Stage(tmp_path, versions).backend(CONTENT["float32"](), precision="float16")


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
def test_a_float_file_is_not_passed_off_as_int8(tmp_path: Path, versions: tuple[str, str]) -> None:
    with pytest.raises(ModelError, match="no Q/DQ nodes"):
        Stage(tmp_path, versions).backend(CONTENT["float32"](), precision="int8")


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
def test_one_profile_takes_one_to_eight_inputs(tmp_path: Path, versions: tuple[str, str]) -> None:
    record = built(Stage(tmp_path, versions), "int8")
    assert record["profile"] == {"pixels": [[1, 8, 8, 1], [1, 8, 8, 1], [8, 8, 8, 1]]}
    assert record["features"] == ([] if versions[0].startswith("11") else ["PROFILE_SHARING_0806"])
    assert record["workspace"] == 256 * 2**20


@pytest.mark.parametrize("versions", PAIRS[:3], ids="-".join)
def test_a_dla_gets_a_weakly_typed_network_and_one_batch_size(tmp_path: Path, versions: tuple[str, str]) -> None:
    record = built(Stage(tmp_path, versions, dla_cores=2), "float16", CONTENT["float32"](), dla_core=1)
    assert record["dla"] == 1
    assert record["flags"] == ["FP16", "GPU_FALLBACK", "TF32"]
    assert record["profile"] == {"pixels": [[1, 8, 8, 1]] * 3}


def test_on_11_a_dla_takes_the_types_from_the_file_too(tmp_path: Path) -> None:
    record = built(Stage(tmp_path, PAIRS[3], dla_cores=1), "float16", dla_core=0)
    assert record["flags"] == ["GPU_FALLBACK", "TF32"]


def test_a_dla_takes_int8_by_scales_only(tmp_path: Path) -> None:
    record = built(Stage(tmp_path, PAIRS[1], dla_cores=1), "int8", CONTENT["float32"](), dla_core=0, scales=SCALES)
    assert record["flags"] == ["FP16", "GPU_FALLBACK", "INT8", "TF32"]
    assert record["creation"] == ["EXPLICIT_BATCH"]


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
@pytest.mark.parametrize("core", [1, -1])
def test_a_core_that_is_not_there_is_refused(tmp_path: Path, versions: tuple[str, str], core: int) -> None:
    with pytest.raises(BackendUnavailable, match=rf"no DLA core {core} \(it has 1\)"):
        Stage(tmp_path, versions, dla_cores=1).backend(precision="float16", dla_core=core)


@pytest.mark.parametrize("versions", PAIRS[:3], ids="-".join)
def test_scales_reach_the_builder_as_a_calibration_cache(tmp_path: Path, versions: tuple[str, str]) -> None:
    stage = Stage(tmp_path, versions)
    record = built(stage, "int8", CONTENT["float32"](), scales=SCALES)
    assert record["calibration"] == calibration_cache(stage.trt, SCALES).decode()
    assert {"FP16", "INT8"} <= set(record["flags"])


def test_11_has_no_calibrators_and_says_what_to_use(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="no calibrators: use the int8 ONNX file with Q/DQ nodes"):
        Stage(tmp_path, PAIRS[3]).backend(precision="int8", scales=SCALES)


@pytest.mark.parametrize(
    ("version", "header"), [("8.6.1", "TRT-8601"), ("8.6.2.3", "TRT-8602"), ("10.3.0", "TRT-100300")]
)
def test_a_calibration_cache_has_the_versions_header_and_scales_in_hexadecimal(
    tmp_path: Path, version: str, header: str
) -> None:
    trt = Stage(tmp_path).trt
    trt.__version__ = version
    first, *lines = calibration_cache(trt, SCALES).decode().splitlines()
    assert first == f"{header}-EntropyCalibration2"
    # Such a cache of NVIDIA's own, for an input in -1..1, reads 3c010a14.
    assert lines[0] == "pixels: 3c010204"
    values = {name: struct.unpack(">f", bytes.fromhex(text))[0] for name, text in (line.split(": ") for line in lines)}
    assert values == pytest.approx(SCALES)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(tmp_path: Path, scale: float) -> None:
    with pytest.raises(ModelError, match=r"scale of tensor 'relu6' is .*calibrate again"):
        Stage(tmp_path).backend(precision="int8", scales={"relu6": scale})


def with_foreign_operator() -> bytes:
    network = Network()
    network.model.graph.node[2].domain = "com.example"
    network.model.opset_import.append(helper.make_opsetid("com.example", 1))
    return network.content


def with_variable_height() -> bytes:
    network = Network()
    network.model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"
    return network.content


def with_two_inputs() -> bytes:
    network = Network()
    network.model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["N"]))
    return network.content


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no model", "cannot read it as ONNX: failed to parse"),
        (with_foreign_operator(), "cannot read it as ONNX: node 2: no importer"),
        (with_variable_height(), r"its input is \(-1, -1, 8, 1\)"),
        (with_two_inputs(), "has 2 inputs"),
        (Network(batch=4).content, r"its input is \(4, 8, 8, 1\)"),
    ],
    ids=["no ONNX", "foreign operator", "variable height", "two inputs", "fixed batch of four"],
)
def test_a_file_that_it_cannot_use_is_refused_with_the_reason(
    tmp_path: Path, versions: tuple[str, str], content: bytes, reason: str
) -> None:
    stage = Stage(tmp_path, versions)
    with pytest.raises(ModelError, match=rf"small\.onnx: .*{reason}"):
        stage.backend(content)
    assert not stage.cache.exists(), "nothing is kept of a failed build"


@pytest.mark.parametrize("versions", PAIRS, ids="-".join)
def test_a_failed_build_gives_the_first_reason(tmp_path: Path, versions: tuple[str, str]) -> None:
    stage = Stage(tmp_path, versions)
    stage.trt.refuses = "no implementation for node Conv_conv"
    with pytest.raises(
        ModelError, match=f"TensorRT {versions[0]} cannot build it: no implementation for node Conv_conv$"
    ):
        stage.backend()

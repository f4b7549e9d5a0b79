"""YuNet: out of a library as data, as a graph, as files that ship, and as a detector."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import yunet_onnx

from convert.cli import main
from convert.detectors.elf import OBJECT, SECTION, SYMBOL, SYMBOL_TABLE, float_arrays
from convert.detectors.yunet import calibration_pictures, interpolate
from convert.detectors.yunet_weights import read_wheel
from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.datatypes import Image
from edge_emotion.detectors.yunet import YuNetDetector, decode, grid_cells
from edge_emotion.errors import ModelError
from edge_emotion.factory.models import make_detector
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.models.manifest import DetectorManifest
from train.networks.yunet import build_yunet, load_published

NAMES = ("yunet", "yunet_640")


def library(arrays: dict[str, np.ndarray[Any, Any]], *, kind: int = OBJECT) -> bytes:
    """An ELF-64 file with a header, one section of data, names and symbols."""
    data, names, symbols = b"", b"\0", np.zeros(len(arrays) + 1, SYMBOL)
    for row, (name, values) in enumerate(arrays.items(), 1):
        symbols[row] = (len(names), kind, 0, 1, 0x1000 + len(data), values.nbytes)
        data, names = data + values.tobytes(), names + name.encode() + b"\0"
    parts = [data, names, symbols.tobytes()]
    offsets = np.cumsum([64, *map(len, parts)]).tolist()
    sections = np.zeros(4, SECTION)
    for row, (type_, address, link) in enumerate(((1, 0x1000, 0), (3, 0, 0), (SYMBOL_TABLE, 0, 2)), 1):
        sections[row] = (0, type_, 0, address, offsets[row - 1], len(parts[row - 1]), link, 0, 0, 0)
    header = bytearray(64)
    header[:6], header[40:48], header[60:62] = b"\x7fELF\x02\x01", offsets[3].to_bytes(8, "little"), b"\x04\x00"
    return bytes(header) + b"".join(parts) + sections.tobytes()


def test_arrays_are_read_out_of_a_library_by_their_symbols() -> None:
    arrays = {"one_weight": np.arange(6, dtype=np.float32), "one_bias": np.float32([0.5]), "other": np.float32([9])}
    read = float_arrays(library(arrays), lambda name: name.startswith("one"))
    assert {name: values.tolist() for name, values in read.items()} == {
        "one_weight": [0, 1, 2, 3, 4, 5],
        "one_bias": [0.5],
    }
    assert not float_arrays(library(arrays, kind=2), lambda _: True)


def test_what_is_no_library_is_refused() -> None:
    content = library({"one": np.float32([1])})
    with pytest.raises(ModelError, match="no little-endian ELF-64 file"):
        float_arrays(b"PK" + content, lambda _: True)
    for broken in (content[:80], content[:64] + content[-64:], content[:40] + bytes(24)):
        with pytest.raises(ModelError, match="symbols cannot be read"):
            float_arrays(broken, lambda _: True)


def test_another_wheel_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("yuface/libfacedetection.so", b"something else")
    with pytest.raises(
        ModelError, match=rf"{wheel} has sha256 \w+\.\.\., expected fd03270a672d\.\.\.: give yuface-2023"
    ):
        read_wheel(wheel)
    with pytest.raises(ModelError, match=r"cannot read .*none\.whl: No such file"):
        read_wheel(tmp_path / "none.whl")
    assert main(["detector", "yunet", "--wheel", str(wheel), "--models", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: the ranges of int8 come from training faces: give --data\n"


@pytest.mark.parametrize(("height", "width"), [(240, 320), (480, 640), (144, 192)])
def test_the_graph_computes_what_the_published_one_does(height: int, width: int) -> None:
    """Equal weights, another implementation in another runtime; the sizes have odd levels, too."""
    runtime = pytest.importorskip("onnxruntime")
    weights = yunet_onnx.random_weights(1)
    network = build_yunet(height, width)
    load_published(network, weights)
    pixels = np.random.default_rng(2).integers(0, 256, (1, height, width, 3)).astype(np.float32)
    ours = [np.asarray(output) for output in network(pixels)]
    session = runtime.InferenceSession(yunet_onnx.yunet_onnx(weights, height, width))
    theirs = [output.transpose(0, 2, 3, 1) for output in session.run(None, {"pixels": pixels.transpose(0, 3, 1, 2)})]
    for level in range(3):
        cls, obj, boxes = theirs[3 * level : 3 * level + 3]
        for one, other in ((ours[2 * level], np.concatenate([cls, obj], axis=3)), (ours[2 * level + 1], boxes)):
            assert one.shape == other.shape and np.abs(other).mean() > 0.1
            assert np.abs(one - other).max() < 1e-5 * max(1.0, np.abs(other).max())


def test_weights_that_do_not_fit_are_named() -> None:
    weights = yunet_onnx.random_weights(1)
    network = build_yunet(96, 96)
    with pytest.raises(ModelError, match="hold no bbox_head__multi_level_obj__2_dw_bias"):
        load_published(
            network, {name: one for name, one in weights.items() if name != "bbox_head__multi_level_obj__2_dw_bias"}
        )
    short = weights | {"backbone__model3_dp1_pw_weight": weights["backbone__model3_dp1_pw_weight"][:64]}
    with pytest.raises(ModelError, match=r"weights of backbone__model3_dp1_pw are 64 numbers, expected 4096"):
        load_published(network, short)


def test_weights_are_interpolated(tmp_path: Path) -> None:
    one, other = (build_yunet(96, 96) for _ in range(2))
    before, after = one.get_weights(), other.get_weights()
    other.save_weights(str(tmp_path / "other.h5"))
    interpolate(one, tmp_path / "other.h5", 0.25)
    for weight, first, second in zip(one.get_weights(), before, after, strict=True):
        assert weight == pytest.approx(0.75 * first + 0.25 * second, abs=1e-6)


def test_calibration_sees_the_ends_of_what_pixels_can_be(few_faces: Any) -> None:
    pictures = list(calibration_pictures(few_faces["train"], 96, 128, np.random.default_rng(0)))
    assert all(one.shape == (96, 128, 3) and one.dtype == np.uint8 for one in pictures)
    assert (pictures[0] == 0).all() and (pictures[1] == 255).all() and len(pictures) > 100


@pytest.mark.parametrize("name", NAMES)
def test_the_int8_file_is_integer_throughout_and_takes_pixels_as_they_are(name: str) -> None:
    backend = TfliteBackend(find_model(name) / f"{name}_int8.tflite", plain_kernels=True)
    assert {np.dtype(tensor["dtype"]).name for tensor in backend.tensors} <= {"int8", "int32"}
    assert not any("QUANTIZE" in operator for operator in backend.operators)
    assert backend.input_quantization == (1.0, -128)
    pixels = np.random.default_rng(0).integers(0, 256, (1, *backend.input_shape), np.uint8)
    for one, other in zip(backend.run(pixels), backend.run(pixels.astype(np.float32)), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", NAMES)
def test_int8_and_float_find_the_same_box(name: str, astronaut: Image) -> None:
    (exact,) = make_detector(name, precision="float32").detect(astronaut)
    (small,) = make_detector(name, precision="int8").detect(astronaut)
    assert small.box.iou(exact.box) > 0.85 and small.score == pytest.approx(exact.score, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_its_squares_are_those_for_which_crops_are_calibrated(name: str, astronaut: Image) -> None:
    (found,), (back,) = make_detector(name).detect(astronaut), make_detector("blazeface_back").detect(astronaut)
    assert found.box.iou(back.box) > 0.75 and found.box.width == found.box.height and not found.landmarks


def test_cells_lie_on_their_corners_and_boxes_are_decoded_from_there() -> None:
    cells, strides = grid_cells([(2, 3), (1, 2)], [8, 16])
    assert cells.tolist() == [[0, 0], [8, 0], [16, 0], [0, 8], [8, 8], [16, 8], [0, 0], [16, 0]]
    assert strides.ravel().tolist() == [8] * 6 + [16] * 2
    raw = np.float32([[0.5, 1.5, math.log(2), math.log(4)]])
    (corners,) = decode(raw, cells[4:5], strides[4:5])
    assert corners == pytest.approx(np.float32([[12 - 8, 20 - 16], [12 + 8, 20 + 16]]))


def planted(*at: tuple[int, int, int, float, float]) -> YuNetDetector:
    """A detector whose network answers with logits of class and objectness at cells (level, y, x) of one stride."""
    manifest = load_manifest(find_model("yunet"))
    assert isinstance(manifest, DetectorManifest)
    shapes = [(30, 40), (15, 20), (8, 10)]
    scores = [np.full((*shape, 2), -20, np.float32) for shape in shapes]
    for level, y, x, class_, objectness in at:
        scores[level][y, x] = class_, objectness
    outputs = [output for shape, score in zip(shapes, scores, strict=True) for output in (np.zeros((*shape, 4)), score)]
    return YuNetDetector(manifest, ConstantBackend((240, 320, 3), outputs), threshold=0.5)


def test_a_score_is_the_root_of_class_times_objectness() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    (found,) = planted((0, 10, 20, 2.0, -0.5), (1, 3, 3, 3.0, -2.0)).detect(image)
    assert found.score == pytest.approx(math.sqrt(1 / (1 + math.exp(-2)) / (1 + math.exp(0.5))))
    side = 0.834 * 16  # a stride of 8 in a picture twice as large
    assert (found.box.x, found.box.width, found.box.height) == pytest.approx((320 - side / 2, side, side), abs=1e-3)
    assert found.box.y == pytest.approx(160 + 0.07 * 16 - side / 2, abs=1e-3)


def test_answers_of_several_levels_come_best_first() -> None:
    detector = planted((0, 1, 1, 1, 1), (2, 4, 4, 4, 4), (1, 10, 15, 2, 2))
    scores = [one.score for one in detector.detect(np.zeros((240, 320, 3), np.uint8))]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True)


def test_a_network_that_does_not_fit_its_manifest_is_refused() -> None:
    manifest = load_manifest(find_model("yunet"))
    assert isinstance(manifest, DetectorManifest)
    with pytest.raises(ModelError, match="do not belong together"):
        YuNetDetector(manifest, ConstantBackend((240, 320, 3), [np.zeros((30, 40, 6))]))
    outputs = [np.zeros((*shape, n)) for shape in ((30, 40), (15, 20), (8, 10)) for n in (2, 4)]
    with pytest.raises(ModelError, match="its manifest has no square"):
        YuNetDetector(manifest.model_copy(update={"square": None}), ConstantBackend((240, 320, 3), outputs))

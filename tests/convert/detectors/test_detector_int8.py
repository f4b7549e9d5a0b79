"""Detectors in int8 (an experiment): the network rebuilt from its file and calibrated on real faces."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_model_optimization")

import flatbuffers

from convert.cli import main
from convert.detectors import detector_int8
from convert.tflite.read import from_tflite
from convert.tflite.write import operators
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.datatypes import Image
from edge_emotion.errors import ModelError
from edge_emotion.factory.models import make_detector
from edge_emotion.models.folder import checked_file, find_model
from edge_emotion.models.preprocess import letterbox


@pytest.mark.parametrize("name", ["blazeface_back", "blazeface_short"])
def test_a_network_that_was_built_again_computes_the_same(name: str, astronaut: Image) -> None:
    manifest = make_detector(name).manifest
    file = checked_file(find_model(name), manifest.file())
    batch, _ = letterbox(astronaut, manifest.input)
    for ours, theirs in zip(from_tflite(file)(batch), TfliteBackend(file).run(batch), strict=True):
        assert np.abs(np.asarray(ours) - theirs).max() < 1e-3 * np.abs(theirs).max()


def test_what_cannot_be_built_again_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tiny_int8\.tflite: operator \w+ is not one that can be built again"):
        from_tflite(find_model("tiny") / "tiny_int8.tflite")
    (tmp_path / "junk.tflite").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"junk\.tflite cannot be read as a TFLite model"):
        from_tflite(tmp_path / "junk.tflite")


def test_what_a_float_file_does_not_hold_is_named(tmp_path: Path) -> None:
    """An activation that no operator of ours has, and a constant in int8, as in files with small weights."""
    from ai_edge_litert import schema_py_generated as schema

    shipped = (find_model("blazeface_short") / "blazeface_short.tflite").read_bytes()

    def changed(change: Callable[[Any, Any], None]) -> Path:
        model = schema.ModelT.InitFromPackedBuf(shipped, 0)
        change(model, model.subgraphs[0])
        builder = flatbuffers.Builder(len(shipped))
        builder.Finish(model.Pack(builder), b"TFL3")
        (tmp_path / "changed.tflite").write_bytes(builder.Output())
        return tmp_path / "changed.tflite"

    def activate(model: Any, graph: Any) -> None:
        convolutions = [one for one in graph.operators if hasattr(one.builtinOptions, "fusedActivationFunction")]
        convolutions[0].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU_N1_TO_1

    def shrink(model: Any, graph: Any) -> None:
        held = next(tensor for tensor in graph.tensors if model.buffers[tensor.buffer].data is not None)
        held.type, held.name = schema.TensorType.INT8, b"small"

    with pytest.raises(ModelError, match=r"changed\.tflite: activation RELU_N1_TO_1 of \w+ is not one"):
        from_tflite(changed(activate))
    with pytest.raises(ModelError, match=r"changed\.tflite: constant small is INT8, expected a float file"):
        from_tflite(changed(shrink))


def test_the_trial_compares_int8_with_what_ships(
    few_real_faces: Any,
    carphone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(detector_int8, "CALIBRATION", 16)
    monkeypatch.setattr(detector_int8, "CALLS", 4)
    monkeypatch.setattr("convert.cli.read_data", lambda *_: few_real_faces)
    file = tmp_path / "short.tflite"
    options = ["--data", "FER+", "--clip", str(carphone), "--out", str(file), "--split", "validation"]
    assert main(["detector-int8", "blazeface_short", *options]) == 0
    said = capsys.readouterr().out
    assert "blazeface_short: found " in said and "frames of the clip with a face: 100.0%, 100.0%" in said
    assert "threshold 0.5" in said and re.search(r"  precision \d+\.\d% of [\d,]+ boxes, \d+\.\d% of [\d,]+\n", said)
    small = TfliteBackend(file, plain_kernels=True)
    assert "QUANTIZE" not in operators(small)
    assert {np.dtype(tensor["dtype"]) for tensor in small.tensors} <= {np.dtype("int8"), np.dtype("int32")}
    options[3] = str(tmp_path / "no.mp4")
    assert main(["detector-int8", "blazeface_short", *options]) == 3
    assert "cannot read a frame of" in capsys.readouterr().err


def test_a_detector_that_reports_everything_finds_everything_and_its_precision_tells(
    few_real_faces: Any, astronaut: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a threshold near 0 recall rises and precision falls; an int8 file that gives nothing has no precision."""
    monkeypatch.setattr(detector_int8, "CALIBRATION", 16)
    monkeypatch.setattr(detector_int8, "CALLS", 4)
    faces = few_real_faces["train"].take(np.arange(12))
    file = tmp_path / "short.tflite"
    file.write_bytes(detector_int8.quantise_detector("blazeface_short", few_real_faces["train"]))
    strict, lax = (
        detector_int8.try_int8("blazeface_short", file, faces, [astronaut], threshold=threshold)
        for threshold in (0.5, 0.01)
    )
    assert lax.found[0] >= strict.found[0] and lax.boxes[0] > strict.boxes[0]
    assert lax.precision[0] is not None and strict.precision[0] is not None
    assert lax.precision[0] == pytest.approx(lax.found[0] * lax.n / lax.boxes[0])
    assert lax.precision[0] < strict.precision[0]
    none = strict._replace(boxes=(9, 0), precision=(0.5, None), overlap=None, eyes=None)
    assert "precision 50.0% of 9 boxes, - of 0\n  no face is found by both" in detector_int8.describe_trial("x", none)

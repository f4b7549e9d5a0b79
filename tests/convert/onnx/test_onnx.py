"""The ONNX files that are written: what stands in them, and that three writers agree on a network that knows faces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

pytest.importorskip("tf_keras")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from ai_edge_litert.interpreter import Interpreter

from convert.artefacts.cross_check import agreement, cross_check
from convert.cli import main
from convert.onnx.from_keras import export_graph
from convert.onnx.graph import Dense, Graph
from convert.onnx.rules import findings
from convert.onnx.scales import STEPS, Scales
from convert.onnx.view import View, load_onnx
from convert.onnx.write import build_onnx, write_onnx
from convert.tflite.write import check_integer_only, quantisation_aware
from edge_emotion.backends.onnx import OnnxBackend
from edge_emotion.backends.tensorrt.calibration import read_scales
from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.errors import ConfigError, ModelError
from train.evaluation.predict import KerasBackend
from train.recipes.catalogue import RECIPES, find_recipe
from train.runs.run_directory import BEST, RECORD

pytest_plugins = ["support.export_fixtures"]

if TYPE_CHECKING:
    from support.export_fixtures import Learned


ALIKE = 0.9
"""Of 128 faces, by a network that has seen no others: what ships has to reach MIN_AGREEMENT."""


@pytest.fixture(scope="module")
def explicit(learned: Learned) -> View:
    return View(build_onnx(learned.graph, scales=learned.scales))


@pytest.mark.parametrize("opset", range(13, 18))
def test_every_opset_is_valid_and_breaks_no_rule(learned: Learned, opset: int) -> None:
    for scales in (None, learned.scales):
        model = build_onnx(learned.graph, scales=scales, opset=opset)
        onnx.checker.check_model(model, full_check=True)
        assert (model.ir_version, model.opset_import[0].version) == (8, opset)
        assert findings(View(model)) == []


def test_another_opset_is_refused(learned: Learned, tmp_path: Path) -> None:
    for opset in (12, 18):
        with pytest.raises(ConfigError, match=f"opset {opset} is not one of 13 to 17"):
            write_onnx(learned.graph, tmp_path / "file.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


def test_the_input_is_that_of_the_tflite_file_for_any_batch(explicit: View) -> None:
    (pixels,), (logits,) = explicit.inputs, explicit.model.graph.output
    sizes = [dimension.dim_param or dimension.dim_value for dimension in pixels.type.tensor_type.shape.dim]
    assert (pixels.name, sizes) == ("pixels", ["N", 48, 48, 1])
    assert (logits.name, logits.type.tensor_type.elem_type) == ("logits", onnx.TensorProto.FLOAT)


def test_nothing_but_the_skip_branch_of_an_addition_is_rounded(explicit: View) -> None:
    additions = explicit.of("Add")
    assert additions
    for node in additions:
        assert [explicit.is_dequantized(branch) for branch in node.input] == [True, False]
        conv = explicit.producer(node.input[1])
        assert conv is not None
        assert conv.op_type == "Conv"


def test_nothing_stands_between_a_convolution_and_its_activation(explicit: View) -> None:
    assert {explicit.producer(node.input[0]).op_type for node in explicit.of("Clip")} == {"Conv"}


def test_weights_are_float_with_a_scale_per_channel_and_biases_are_float(learned: Learned, explicit: View) -> None:
    layers = explicit.of("Conv", "Gemm")
    assert len(layers) == len(learned.graph.weighted)
    for node in layers:
        kernel = explicit.constant(explicit.before_rounding(node.input[1]))
        bias = explicit.constant(node.input[2])
        dequantize = explicit.producer(node.input[1])
        scale, zeros = (explicit.constant(name) for name in dequantize.input[1:])
        assert kernel.dtype == bias.dtype == np.float32
        assert zeros.dtype == np.int8
        assert scale.shape == zeros.shape == (len(kernel),)
        assert np.abs(kernel).max() <= STEPS * scale.max() * (1 + 1e-6)


def test_a_file_is_written_the_same_way_every_time(learned: Learned, tmp_path: Path) -> None:
    files = [write_onnx(learned.graph, tmp_path / name, scales=learned.scales) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


# Scales


@pytest.mark.parametrize("scale", [None, 0.0, float("nan"), -1.0])
def test_a_scale_that_is_missing_or_no_scale_is_refused(learned: Learned, tmp_path: Path, scale: float | None) -> None:
    activations = {**learned.scales.activations, "pool": scale}
    if scale is None:
        del activations["pool"]
    with pytest.raises(ModelError, match="edge 'pool' has no scale above 0"):
        write_onnx(learned.graph, tmp_path / "file.onnx", scales=Scales(activations, learned.scales.weights))
    assert not list(tmp_path.iterdir())


def test_weight_scales_that_do_not_fit_are_refused(learned: Learned) -> None:
    weights = {**learned.scales.weights, "stem": np.ones(3, np.float32)}
    with pytest.raises(ModelError, match=r"'stem' needs 16 weight scales above 0"):
        build_onnx(learned.graph, scales=Scales(learned.scales.activations, weights))


# Numbers


def test_the_float_file_computes_what_keras_computes(learned: Learned, tmp_path: Path) -> None:
    ours = learned.logits(OnnxBackend(write_onnx(learned.graph, tmp_path / "float.onnx")))
    keras = learned.logits(KerasBackend(learned.model))
    assert np.abs(ours - keras).max() < 1e-3


def test_the_float16_file_says_of_real_faces_what_keras_says(learned: Learned, tmp_path: Path) -> None:
    ours = learned.logits(OnnxBackend(write_onnx(learned.graph, tmp_path / "half.onnx", half=True)))
    keras = learned.logits(KerasBackend(learned.model))
    same = agreement(ours, keras)
    print(same)
    assert same.top1 > 0.98
    assert 1e-5 < same.worst < 0.02 * np.ptp(keras)


def test_the_int8_file_loses_next_to_nothing(learned: Learned, tmp_path: Path) -> None:
    path = write_onnx(learned.graph, tmp_path / "int8.onnx", scales=learned.scales)
    keras = learned.logits(KerasBackend(learned.model))
    for optimise in (False, True):
        same = agreement(learned.logits(OnnxBackend(path, optimise=optimise)), keras)
        print(f"optimise={optimise}: {same}")
        assert same.top1 >= ALIKE
        assert same.mean < 0.1 * keras.std()


def test_three_writers_agree(learned: Learned) -> None:
    found = cross_check(learned.simulated, learned.logits)
    print(found)
    assert set(found) == {"onnx, optimised", "tflite", "tflite, plain kernels", "tflite by tf2onnx"}
    assert min(one.top1 for one in found.values()) >= ALIKE


def test_wrong_scales_are_seen_by_the_cross_check(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    from convert.artefacts import cross_check as module

    wrong = Scales({**learned.scales.activations, "head_relu": 0.002}, learned.scales.weights)
    monkeypatch.setattr(module, "scales_of", lambda simulated: wrong)
    found = cross_check(learned.simulated, learned.logits)
    assert found["tflite"].top1 < ALIKE
    assert found["onnx, optimised"].top1 >= ALIKE


def test_tflite_holds_the_same_integers(learned: Learned, explicit: View, tmp_path: Path) -> None:
    file = tmp_path / "int8.tflite"
    file.write_bytes(quantisation_aware(learned.simulated))
    check_integer_only(file)
    tensors = [tensor for tensor in TfliteBackend(file, plain_kernels=True).tensors if tensor["dtype"] == np.int8]
    assert {zero for tensor in tensors for zero in tensor["quantization_parameters"]["zero_points"]} == {0}
    per_channel = [tensor for tensor in tensors if len(tensor["quantization_parameters"]["scales"]) > 1]
    theirs = sorted(integers(file, tensor) for tensor in per_channel)
    assert theirs == sorted(our_integers(explicit))


def integers(file: Path, tensor: dict[str, Any]) -> bytes:
    """Sorted values of a constant of the file."""
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    return np.sort(interpreter.get_tensor(tensor["index"]), axis=None).tobytes()


def our_integers(view: View) -> list[bytes]:
    found = []
    for node in view.of("Conv"):  # the head has one scale for all in TFLite
        kernel = view.constant(view.before_rounding(node.input[1]))
        scale = view.constant(view.producer(node.input[1]).input[1])
        steps = np.rint(kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1)))
        found.append(np.sort(np.clip(steps, -128, 127).astype(np.int8), axis=None).tobytes())
    return found


# Commands


def record_of(recipe: str, data: Any) -> str:
    """What a finished run of a recipe on a data set has in its run.json."""
    return json.dumps({
        "recipe": {**find_recipe("tiny").model_dump(mode="json"), "name": recipe},
        "classes": data.classes,
        "dataset": data.name,
        "held_out": data.fingerprint(split for split in data.splits if split != "train"),
        "finished": True,
    })  # fmt: skip


@pytest.fixture
def run(learned: Learned, fer_plus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The network ``tiny`` as the training run of a recipe that is called otherwise."""
    monkeypatch.setitem(RECIPES, "other", find_recipe("tiny").model_copy(update={"name": "other"}))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / RECORD).write_text(record_of("other", fer_plus))
    learned.model.save_weights(folder / BEST)
    return folder


def test_a_run_becomes_three_files_with_the_name_of_its_recipe(
    run: Path, fer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("convert.int8.qat.CALIBRATION_FACES", 32)
    out, cache = tmp_path / "made" / "here", tmp_path / "calibration" / "other.cache"
    options = ["--data", str(fer_folder), "--out", str(out), "--opset", "17", "--calibration-cache", str(cache)]
    assert main(["onnx", str(run), *options]) == 0
    names = ["other_float16.onnx", "other_float32.onnx", "other_int8.onnx"]
    assert sorted(path.name for path in out.iterdir()) == names
    said = [line for line in capsys.readouterr().out.splitlines() if "agreement" in line]
    assert [Path(line.split(":")[0]).name for line in said] == [names[1], names[0], names[2]]
    assert all("agreement 100.00%" in line or "agreement 99." in line for line in said[:2])
    for name, kind in zip(names, ("float", "float", "explicit Q/DQ"), strict=True):
        assert main(["check-onnx", str(out / name)]) == 0
        assert f"{kind}, " in capsys.readouterr().out
    known = {output for node in load_onnx(out / names[1]).nodes for output in node.output} | {"pixels"}
    assert set(read_scales(cache)) <= known


def test_a_run_that_is_not_finished_or_of_other_data_is_refused(
    run: Path, few_faces: Any, fer_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    command = [str(run), "--data", str(fer_folder)]
    for record, reason in (
        (record_of("other", few_faces), "--data is not that data set"),
        (json.dumps({**json.loads((run / RECORD).read_text()), "finished": False}), "is not finished"),
    ):
        (run / RECORD).write_text(record)
        assert main(["onnx", *command, "--out", str(out)]) == 2
        assert reason in capsys.readouterr().err
        assert main(["cross-check", *command]) == 2
        assert reason in capsys.readouterr().err
    assert not out.exists()


def test_the_cross_check_fails_where_a_writer_disagrees(
    run: Path, few_faces: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Once with three writers of one network, once with an ONNX writer that turns the sign of the last weights."""
    monkeypatch.setattr("convert.onnx_commands.read_data", lambda *_: few_faces)
    monkeypatch.setattr("convert.int8.qat.CALIBRATION_FACES", 16)
    monkeypatch.setattr(
        "convert.artefacts.cross_check.MIN_AGREEMENT", 0.8
    )  # of 32 faces that this network has not seen
    (run / RECORD).write_text(record_of("other", few_faces))

    def damaged(model: Any) -> Graph:
        graph = export_graph(model)
        *others, last = graph.nodes
        assert isinstance(last, Dense)
        return replace(graph, nodes=(*others, replace(last, kernel=-last.kernel)))

    for writer, code in ((export_graph, 0), (damaged, 1)):
        monkeypatch.setattr("convert.artefacts.cross_check.export_graph", writer)
        assert main(["cross-check", str(run), "--data", "anywhere", "--json"]) == code
        found = json.loads(capsys.readouterr().out)
        assert set(found["tflite"]) == {"top1", "mean", "worst"}
        assert found["onnx, optimised"]["top1"] > 0.8
        assert all((found[name]["top1"] > 0.8) == (code == 0) for name in found if "tflite" in name)


def test_bad_arguments_leave_nothing(run: Path, fer_folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    data = ["--data", str(fer_folder), "--out", str(out)]
    assert main(["onnx", str(run), *data, "--opset", "18"]) == 2
    assert "opset 18 is not one of 13 to 17" in capsys.readouterr().err
    assert main(["onnx", str(tmp_path), *data]) == 2
    assert "not a training run" in capsys.readouterr().err
    assert not out.exists()

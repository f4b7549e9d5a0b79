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
from support.export_fixtures import SPEC

from convert.artefacts.cross_check import Agreement, agreement, cross_check
from convert.cli import main
from convert.int8.fold import WEIGHTED, fold
from convert.int8.quantise_aware import channels_last, quantise_aware, quantised_layers, rounded, symmetric
from convert.int8.quantise_aware import explicit as explicit_form
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


ALIKE = 0.98
"""Of faces of which the network is sure."""
UNLIKE = 0.5
"""What does not compute the same agrees by chance: that of the most frequent emotion."""


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


@pytest.mark.numeric
def test_the_float_file_computes_what_keras_computes(learned: Learned, tmp_path: Path) -> None:
    ours = learned.logits(OnnxBackend(write_onnx(learned.graph, tmp_path / "float.onnx")))
    keras = learned.logits(KerasBackend(learned.model))
    assert np.abs(ours - keras).max() < 1e-3


@pytest.mark.numeric
def test_the_float16_file_says_of_real_faces_what_keras_says(learned: Learned, tmp_path: Path) -> None:
    ours = learned.logits(OnnxBackend(write_onnx(learned.graph, tmp_path / "half.onnx", half=True)))
    keras = learned.logits(KerasBackend(learned.model))
    same = agreement(ours, keras)
    print(same)
    assert same.top1 > 0.98
    assert 1e-5 < same.worst < 0.02 * np.ptp(keras)


@pytest.mark.numeric
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


def test_a_wrong_scale_is_seen_by_the_cross_check(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    """One so small that every value above 0 is clipped to nearly nothing: only the biases are left."""
    from convert.artefacts import cross_check as module

    wrong = Scales({**learned.scales.activations, "head_relu": 1e-4}, learned.scales.weights)
    monkeypatch.setattr(module, "explicit", lambda simulated: (learned.graph, wrong))
    found = cross_check(learned.simulated, learned.logits)
    print(found)
    assert all(found[name].top1 < UNLIKE for name in found if "tflite" in name)
    assert found["onnx, optimised"].top1 >= ALIKE


def between_steps(model: Any, seed: int) -> Any:
    """Puts every weight midway between two steps or next to it, where roundings differ; one of a channel is 127 steps.

    In float32 "next to it" are the neighbours of the middle: what arithmetic with another rounding error takes for it.
    """
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, WEIGHTED):
            kernel, bias = layer.get_weights()
            view = np.asarray(channels_last(layer, kernel))
            rows = view.reshape(-1, view.shape[-1])
            step = generator.uniform(1e-3, 1e-2, rows.shape[1]).astype(np.float32)
            middles = (generator.integers(-127, 127, rows.shape) + np.float32(0.5)).astype(np.float32) * step
            rows = np.nextafter(middles, middles * generator.integers(0, 3, rows.shape)).astype(np.float32)
            rows[0] = 127 * step
            layer.set_weights([rows.reshape(kernel.shape), bias])
    return model


@pytest.mark.parametrize("weights", ["learned", pytest.param("between steps", marks=pytest.mark.numeric)])
def test_tflite_and_onnx_hold_the_same_integers_and_scales(weights: str, learned: Learned, tmp_path: Path) -> None:
    simulated = learned.simulated
    if weights == "between steps":
        folded, generator = between_steps(fold(learned.model), 0), np.random.default_rng(1)
        ranges = {name: symmetric(generator.uniform(0.5, 9)) for name in quantised_layers(folded)}
        simulated = quantise_aware(folded, SPEC, ranges)
    graph, scales = explicit_form(simulated)
    ours = View(build_onnx(graph, scales=scales))
    file = tmp_path / "int8.tflite"
    file.write_bytes(quantisation_aware(simulated))
    check_integer_only(file)
    theirs = TfliteBackend(file, plain_kernels=True)
    assert {int(zero) for _, tensor in int8_tensors(theirs) for zero in tensor["zero_points"]} == {0}
    assert sorted(integers_of_tflite(theirs)) == sorted(integers_of_onnx(ours))
    activations = {float(np.float32(scale)) for scale in scales.activations.values()}
    assert activations <= {float(scale) for _, tensor in int8_tensors(theirs) for scale in tensor["scales"]}


def int8_tensors(backend: TfliteBackend) -> list[tuple[str, Any]]:
    """Name and quantisation."""
    return [(one["name"], one["quantization_parameters"]) for one in backend.tensors if one["dtype"] == np.int8]


def integers_of_tflite(backend: TfliteBackend) -> list[tuple[bytes, bytes]]:
    """The integers of each kernel, output channels first, and its scales."""
    scales = {name: tensor["scales"] for name, tensor in int8_tensors(backend)}
    found = []
    for name, values in backend.constants(np.int8):
        depthwise = values.ndim == 4 and values.shape[0] == 1 and len(scales[name]) == values.shape[3]
        kernel = values.transpose(3, 0, 1, 2) if depthwise else values
        found.append((kernel.tobytes(), scales[name].tobytes()))
    return found


def integers_of_onnx(view: View) -> list[tuple[bytes, bytes]]:
    """The same; a dense layer has one scale for all in TFLite, which is said once for each output here."""
    found = []
    for node in view.of("Conv", "Gemm"):
        kernel = view.constant(view.before_rounding(node.input[1]))
        scale = view.constant(view.producer(node.input[1]).input[1])
        steps = np.rint(kernel / scale.reshape(-1, *[1] * (kernel.ndim - 1))).astype(np.int8)
        turned = steps.transpose(0, 2, 3, 1) if steps.ndim == 4 else steps
        found.append((turned.tobytes(), (np.unique(scale) if node.op_type == "Gemm" else scale).tobytes()))
    return found


def test_to_choose_the_integers_again_changes_nothing(learned: Learned) -> None:
    once, _ = explicit_form(learned.simulated)
    with rounded(learned.simulated):
        again, _ = explicit_form(learned.simulated)
    for first, second in zip(once.weighted, again.weighted, strict=True):
        np.testing.assert_allclose(second.kernel, first.kernel, rtol=1e-6)


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
    """An ONNX writer turns the sign of the last weights. With the least agreement at 0, that is no failure."""
    monkeypatch.setattr("convert.onnx_commands.read_data", lambda *_: few_faces)
    monkeypatch.setattr("convert.int8.qat.CALIBRATION_FACES", 16)
    (run / RECORD).write_text(record_of("other", few_faces))

    def damaged(simulated: Any) -> tuple[Graph, Scales]:
        graph, scales = explicit_form(simulated)
        *others, last = graph.nodes
        assert isinstance(last, Dense)
        return replace(graph, nodes=(*others, replace(last, kernel=-last.kernel))), scales

    monkeypatch.setattr("convert.artefacts.cross_check.explicit", damaged)
    assert main(["cross-check", str(run), "--data", "anywhere", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found["tflite"]) == {"top1", "mean", "worst"}
    assert found["onnx, optimised"]["top1"] > 0.8
    assert all(found[name]["top1"] < 0.8 for name in found if "tflite" in name)
    checked = {name: Agreement(**one) for name, one in found.items()}
    monkeypatch.setattr("convert.int8.qat.symmetric", lambda *_: None)  # nothing is made a second time
    monkeypatch.setattr("convert.artefacts.cross_check.cross_check", lambda *_: checked)
    monkeypatch.setattr("convert.artefacts.cross_check.MIN_AGREEMENT", 0.0)
    assert main(["cross-check", str(run), "--data", "anywhere"]) == 0


def test_bad_arguments_leave_nothing(run: Path, fer_folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    data = ["--data", str(fer_folder), "--out", str(out)]
    assert main(["onnx", str(run), *data, "--opset", "18"]) == 2
    assert "opset 18 is not one of 13 to 17" in capsys.readouterr().err
    assert main(["onnx", str(tmp_path), *data]) == 2
    assert "not a training run" in capsys.readouterr().err
    assert not out.exists()

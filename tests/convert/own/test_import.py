from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from convert.cli import main
from convert.own.onnx_file import OnnxFile
from edge_emotion.errors import ModelError
from edge_emotion.factory.models import make_classifier
from edge_emotion.models.folder import load_manifest
from edge_emotion.models.self_test import self_test_inputs
from train.keras import K, tf

FER2013 = "anger,disgust,fear,happiness,sadness,surprise,neutral"
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> Any:
    """48 x 48 x 1 -> softmax over seven, with weights large enough that every answer is clear."""
    K.utils.set_random_seed(3)
    layers = K.layers
    model = K.Sequential(
        [
            layers.Input((48, 48, 1)),
            layers.Conv2D(4, 5, strides=4, activation="relu"),
            layers.Flatten(),
            layers.Dense(7, activation="softmax"),
        ]
    )
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([3 * kernel, bias])
    return model


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return self_test_inputs(_grey(), range(40))


def _grey() -> Any:
    from train.recipes.recipe import gray_input

    return gray_input(48)


def imported(file: Path, out: Path, *words: str, labels: str = FER2013) -> Any:
    command = ["import", str(file), "--labels", labels, "--out", str(out)]
    assert main([*command, "--input", *words] if words else command) == 0
    return make_classifier(str(out))


def probabilities(classifier: Any, pixels: Pixels) -> Any:
    spec = classifier.manifest.input
    batch = pixels.astype(np.float32) * np.float32(spec.scale) + np.float32(spec.offset)
    return np.array([row.probabilities for row in classifier.judge(batch)])


def int8_file(network: Any, pixels: Pixels, kind: Any) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([(one[None] / 255).astype(np.float32)] for one in pixels)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = kind
    return bytes(converter.convert())


def test_a_keras_network_in_each_form_gives_its_own_probabilities_in_the_runtime(
    network: Any, pixels: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = network.predict(pixels / np.float32(255), verbose=0)
    network.save(tmp_path / "own.h5")
    network.save(tmp_path / "own.keras")
    network.export(tmp_path / "own_saved")
    (tmp_path / "own.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    for file in ("own.h5", "own.keras", "own_saved", "own.tflite"):
        classifier = imported(tmp_path / file, tmp_path / f"model_{file}", "0..1")
        assert classifier.labels == tuple(FER2013.split(","))
        assert probabilities(classifier, pixels) == pytest.approx(truth, abs=1e-4), file
        assert "the softmax at the end was removed" in capsys.readouterr().out
    (tmp_path / "own_uint8.tflite").write_bytes(int8_file(network, pixels, tf.uint8))
    for words in ((), ("48x48x1", "0..1")):  # an integer input shows its range itself
        classifier = imported(tmp_path / "own_uint8.tflite", tmp_path / f"model_uint8_{len(words)}", *words)
        entry = classifier.entry
        assert (entry.precision, entry.input_type, entry.output_type) == ("int8", "uint8", "int8")
        assert classifier.manifest.input.scale == pytest.approx(1 / 255, rel=0.02)
        assert np.abs(probabilities(classifier, pixels) - truth).mean() < 0.02


def test_a_network_of_keras_3_that_rescales_pixels_itself_needs_no_range(pixels: Pixels, tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    parts = [keras.layers.Rescaling(1 / 127.5, offset=-1), keras.layers.Conv2D(4, 5, strides=4, activation="relu")]
    parts += [keras.layers.Flatten(), keras.layers.Dense(3, activation="sigmoid")]  # none of its values is near 0 or 1
    model = keras.Sequential([keras.layers.Input((48, 48, 3)), *parts])
    model.save(tmp_path / "own.keras")
    colour = np.concatenate([pixels, pixels[::-1], 255 - pixels], axis=-1)
    classifier = imported(tmp_path / "own.keras", tmp_path / "m", labels="Happy, sad, tired")
    spec = classifier.manifest.input
    assert (spec.colour, spec.scale, spec.offset) == ("rgb", 1.0, 0.0)
    assert classifier.labels == ("happiness", "sadness", "tired")
    assert classifier.manifest.own_labels == ("tired",)
    each = np.maximum(model.predict(colour.astype(np.float32), verbose=0), 1e-7)
    assert probabilities(classifier, colour) == pytest.approx(each / each.sum(axis=1, keepdims=True), abs=1e-4)


def torch_like(path: Path, *, softmax: bool, classes: int = 7, side: int | str = 48) -> Any:
    """N x 3 x H x W -> convolution, mean, linear; as torch.onnx.export writes it. Returns its function in numpy."""
    draw = np.random.default_rng(5).normal
    kernel, weight = draw(size=(8, 3, 1, 1)).astype(np.float32), 3 * draw(size=(8, classes)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["output"], axis=1))
    last = "output" if softmax else "logits"
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)

    def run(values: Any) -> Any:
        maps = np.maximum(np.einsum("nhwc,oc->nhwo", values, kernel[:, :, 0, 0]), 0).mean(axis=(1, 2)) @ weight
        powers = np.exp(maps - maps.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    return run


def test_the_end_of_a_network_is_known_also_where_its_values_look_like_logits(tmp_path: Path) -> None:
    ends = {"Sigmoid": True, "Softmax": False, "Relu": False}
    for last, is_sigmoid in ends.items():
        nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node(last, ["flat"], ["end"])]
        nodes.append(helper.make_node("Identity", ["end"], ["y"]))
        shapes = [("x", ["batch", 3, 16, 16]), ("y", ["batch", 768])]
        given, taken = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
        graph = helper.make_graph(nodes, "g", [given], [taken])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / last)
        assert OnnxFile(tmp_path / last).ends_in_sigmoid() == is_sigmoid, last


def test_an_onnx_file_with_channels_first_and_imagenets_mean_and_deviation_gives_its_own_probabilities(
    pixels: Pixels, tmp_path: Path
) -> None:
    colour = np.concatenate([pixels, pixels[::-1], 255 - pixels], axis=-1)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    means = ("0..1", "mean=0.485,0.456,0.406", "std=0.229,0.224,0.225")
    for number, (softmax, side, words) in enumerate(
        [(True, 48, ("imagenet",)), (False, 48, means), (False, "height", ("48x48 imagenet",))]
    ):
        run = torch_like(tmp_path / "own.onnx", softmax=softmax, side=side)
        classifier = imported(tmp_path / "own.onnx", tmp_path / f"model_{number}", *words)
        assert classifier.manifest.input.shape == (48, 48, 3)
        assert probabilities(classifier, colour) == pytest.approx(run((colour / 255 - mean) / deviation), abs=1e-4)


def test_what_does_not_fit_is_refused_in_one_line_and_nothing_is_written(
    network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network.save(tmp_path / "own.h5")
    network.save_weights(tmp_path / "weights.h5")
    torch_like(tmp_path / "free.onnx", softmax=False, side="side")
    (tmp_path / "damaged.tflite").write_bytes(b"no model at all")
    (tmp_path / "damaged.onnx").write_bytes(b"no model at all")
    (tmp_path / "labels.txt").write_text("0 Happy\n1 Sad\n", encoding="utf-8")
    for file, labels, words, code, text in [
        ("own.h5", FER2013, (), 2, "does not show the range"),
        ("own.h5", "happy,sad", ("0..1",), 2, "gives 7 values, and --labels has 2"),
        (
            "own.h5",
            str(tmp_path / "labels.txt"),
            ("0..1",),
            2,
            "gives 7 values, and --labels has 2: happiness, sadness",
        ),
        ("own.h5", "happy,joy", ("0..1",), 2, "happiness comes twice"),
        ("own.h5", "happy,4ever", ("0..1",), 2, "'4ever' cannot be a label"),
        ("own.h5", "happy,wütend", ("0..1",), 2, "digits and _, 32 in all; for example wutend"),
        ("own.h5", "happy,怒り", ("0..1",), 2, "digits and _, 32 in all"),
        ("own.h5", "happy,unknown", ("0..1",), 2, "'unknown' cannot be a label"),
        ("own.h5", FER2013, ("64x64", "0..1"), 2, "takes 48 x 48 x 1"),
        ("own.h5", FER2013, ("rgb", "0..1"), 2, "takes 1 channels"),
        ("own.h5", FER2013, ("0..2",), 2, "0..2 is unknown"),
        ("own.h5", FER2013, ("mean=0.5",), 2, "need the range in which they count"),
        ("weights.h5", FER2013, ("0..1",), 4, "holds weights without the network"),
        ("free.onnx", FER2013, ("0..1",), 2, "pictures of any size"),
        ("damaged.tflite", FER2013, ("0..1",), 4, "cannot be read as a TFLite model"),
        ("damaged.onnx", FER2013, ("0..1",), 4, "cannot be read as an ONNX model"),
        ("absent.h5", FER2013, ("0..1",), 2, "there is no file"),
        ("labels.txt", FER2013, ("0..1",), 2, "is none of .h5"),
    ]:
        out = tmp_path / "out"
        command = ["import", str(tmp_path / file), "--labels", labels, "--out", str(out)]
        assert main([*command, "--input", *words] if words else command) == code, text
        error = capsys.readouterr().err
        assert text in error
        assert error.count("\n") == 1
        assert not out.exists()


def test_a_manifest_whose_file_gives_probabilities_is_refused_with_the_reason(
    network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network.save(tmp_path / "own.h5")
    imported(tmp_path / "own.h5", tmp_path / "own", "0..1")
    file = tmp_path / "own" / "own.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    manifest = json.loads((tmp_path / "own" / "manifest.json").read_text())
    (entry,) = manifest["files"]
    del entry["golden"]
    from edge_emotion.system.atomic_file import sha256

    entry["sha256"] = sha256(file)
    (tmp_path / "own" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=r"gives probabilities .* sums to 1.*python -m convert import"):
        make_classifier(str(tmp_path / "own"))


def labelled(folder: Path, network: Any) -> Path:
    """Drawn faces in folders by what the network itself says of them."""
    names = np.array(FER2013.split(","))
    for split, seeds in (("train", range(20)), ("val", range(100, 200)), ("test", range(300, 340))):
        pictures = self_test_inputs(_grey(), seeds)
        for number, label in enumerate(network.predict(pictures / np.float32(255), verbose=0).argmax(axis=1)):
            place = folder / split / names[label]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{number}.png"), pictures[number])
    return folder


def test_an_imported_network_is_measured_on_data_and_a_wrong_description_is_suspected(
    network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network.save(tmp_path / "own.h5")
    data = labelled(tmp_path / "faces", network)
    counts = {folder.name: len(list(folder.iterdir())) for folder in (data / "val").iterdir()}
    first, second = sorted(counts, key=lambda name: -counts[name])[:2]
    swapped = ",".join({first: second, second: first}.get(name, name) for name in FER2013.split(","))
    printed = {}
    for name, labels, words in [
        ("right", FER2013, "0..1"),
        ("range", FER2013, "gray -1..1"),
        ("order", swapped, "0..1"),
    ]:
        command = ["import", str(tmp_path / "own.h5"), "--labels", labels, "--input", words, "--data", str(data)]
        assert main([*command, "--out", str(tmp_path / name)]) == 0
        printed[name] = capsys.readouterr().out
    manifest: Any = load_manifest(tmp_path / "right")
    assert {key: (one.n, one.accuracy) for key, one in manifest.metrics.items()} == {
        "validation/float32": (100, 1.0),
        "test/float32": (40, 1.0),
    }
    assert list(manifest.calibration.operating_points) == ["plain", "calibrated"]
    assert "warning" not in printed["right"]
    assert "warning: with --input 0..1 the accuracy on 100 validation faces is 100.0% instead" in printed["range"]
    assert f"warning: with --labels {FER2013} the accuracy is 100.0% instead" in printed["order"]


def test_a_network_that_predicts_one_class_for_every_face_is_not_imported(
    network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = labelled(tmp_path / "faces", network)
    constant = K.models.clone_model(network)
    kernel, _ = network.layers[-1].get_weights()
    constant.set_weights([*network.get_weights()[:-2], kernel, 1e4 * np.eye(7, dtype=np.float32)[2]])
    constant.save(tmp_path / "own.h5")
    command = ["import", str(tmp_path / "own.h5"), "--labels", FER2013, "--input", "0..1", "--data", str(data)]
    assert main([*command, "--out", str(tmp_path / "own")]) == 4
    assert "predicts fear for each of 100 validation faces" in capsys.readouterr().err
    assert not (tmp_path / "own").exists()

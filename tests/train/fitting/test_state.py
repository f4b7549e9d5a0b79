"""State of a run on disk: kills at bad moments, failed starts, resuming, averages, freezing, plateaus."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.finished_runs import FinishedRuns

from edge_emotion.errors import ConfigError

pytest.importorskip("tf_keras")

from train.data.augment import Augmentation
from train.data.faces import DataError, DataSet
from train.fitting.averaging import Average
from train.fitting.callbacks import Unfreeze
from train.fitting.distillation import _as_input
from train.fitting.fit import fit
from train.fitting.schedule import PLATEAU_FACTOR, PLATEAU_PATIENCE, LearningRate
from train.fitting.state import State
from train.keras import K, tf
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import Recipe, gray_input, rgb_input
from train.runs.run_directory import BEST, HISTORY, RECORD, TrainingError, load_run, matching_record, require_disk

pytestmark = pytest.mark.usefixtures("shallow_tiny")

STILL = Augmentation(flip=False, rotation=0, zoom=0, shift=0, brightness=0, contrast=0, erase=0)


def recipe(**changes: object) -> Recipe:
    settings: dict[str, object] = {"batch_size": 4, "epochs": 4, "augmentation": STILL, "dropout": 0.0}
    return find_recipe("tiny").change(**{**settings, **changes})


def train(settings: Recipe, data: DataSet, run: Path, **options: Any) -> Path:
    return fit(settings, data, run, **{"weights": None, "start": "random", "steps": 2, **options})


class PowerCutError(Exception):
    """A simulated power cut."""


def kill_at(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt the run when everything of an epoch (from 1) but its checkpoint is written."""
    save = State.save

    def killed(state: State, number: int) -> None:
        if number == epoch:
            raise PowerCutError
        save(state, number)

    monkeypatch.setattr(State, "save", killed)


def test_a_resumed_run_ends_where_an_unbroken_one_does(
    few_faces: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PowerCutError at the worst moment: weights, optimiser, average, best and history all go on."""
    settings = recipe(epochs=3)
    train(settings, few_faces, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        kill_at(2, patch)
        train(settings, few_faces, tmp_path / "broken")
    train(settings, few_faces, tmp_path / "broken")
    whole, broken = load_run(tmp_path / "whole"), load_run(tmp_path / "broken")
    assert broken.history["epoch"] == [0, 1, 2]
    assert broken.history["val_loss"] == pytest.approx(whole.history["val_loss"], rel=1e-4)
    for a, b in zip(whole.build().get_weights(), broken.build().get_weights(), strict=True):
        assert b == pytest.approx(a, abs=1e-5)
    assert broken.record["best_accuracy"] == whole.record["best_accuracy"]


def test_best_weights_of_a_lost_epoch_are_lost_with_it(
    few_faces: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(epochs=2, learning_rate=0.01, ema=0.0, warmup_epochs=0)
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        kill_at(1, patch)
        train(settings, few_faces, tmp_path / "run")
    assert list((tmp_path / "run").glob("best*")) == [tmp_path / "run" / "best-1.h5"]
    train(settings, few_faces, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").glob("best*")] == [BEST]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"weights": "/nowhere/typo.h5", "start": "typo"}, DataError), ({"teachers": [Path("/nowhere")]}, ConfigError)],
)
def test_a_start_that_fails_does_not_claim_the_directory(
    wrong: dict[str, Any], error: type[Exception], few_faces: DataSet, tmp_path: Path
) -> None:
    with pytest.raises(error):
        train(recipe(epochs=1), few_faces, tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_says_so_and_keeps_nothing(few_faces: DataSet, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="diverged in epoch 1"):
        train(recipe(learning_rate=1e30, warmup_epochs=0, optimizer="sgd"), few_faces, tmp_path / "run", steps=4)
    assert not (tmp_path / "run" / BEST).exists()
    assert "finished" not in json.loads((tmp_path / "run" / RECORD).read_text())


def test_another_precision_is_another_run(few_faces: DataSet, finished_run: FinishedRuns) -> None:
    with pytest.raises(ConfigError, match="another precision"):
        train(find_recipe("tiny").change(batch_size=4, epochs=2), few_faces, finished_run(), floats="mixed_bfloat16")


def test_a_run_of_an_older_version_goes_on_and_one_of_other_settings_does_not(tmp_path: Path) -> None:
    """Its record lacks the settings that have come since; at their defaults they change nothing."""
    now = {"recipe": find_recipe("tiny").model_dump(mode="json")}
    old = json.loads(json.dumps(now))
    del old["recipe"]["undersample"], old["recipe"]["augmentation"]["hue"]
    (tmp_path / RECORD).write_text(json.dumps(old))
    assert matching_record(tmp_path, now) == old
    for changes in ({"undersample": 0.5}, {"augmentation": {"hue": 0.1}}, {"epochs": 3}):
        with pytest.raises(ConfigError, match="another recipe"):
            matching_record(tmp_path, {"recipe": find_recipe("tiny").change(**changes).model_dump(mode="json")})


@pytest.mark.parametrize("text", ["[]", "{", '{"recipe": {}}', "null"])
def test_a_damaged_record_is_one_line(text: str, few_faces: DataSet, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ConfigError):
        load_run(tmp_path)
    with pytest.raises(ConfigError):
        train(recipe(), few_faces, tmp_path)
    assert (tmp_path / RECORD).read_text() == text


def test_a_damaged_checkpoint_is_one_line(few_faces: DataSet, finished_run: FinishedRuns, tmp_path: Path) -> None:
    run = finished_run.copy(tmp_path / "run")
    record = json.loads((run / RECORD).read_text())
    del record["finished"]
    (run / RECORD).write_text(json.dumps(record))
    (data,) = (run / "checkpoints").glob("*.data*")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(TrainingError, match="does not fit this run or is damaged"):
        train(find_recipe("tiny").change(batch_size=4, epochs=2), few_faces, run)


def test_a_run_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    require_disk(tmp_path / "not" / "there", 1_000_000)
    with pytest.raises(ConfigError, match="GiB free; choose another --run"):
        require_disk(tmp_path, 10**15)


def test_a_validation_split_without_clear_faces_is_refused(few_faces: DataSet, tmp_path: Path) -> None:
    unclear = replace(few_faces["validation"], clear=np.zeros(len(few_faces["validation"]), np.bool_))
    data = DataSet("odd", "majority", few_faces.classes, {"train": few_faces["train"], "validation": unclear})
    with pytest.raises(DataError, match="no face with a clear label in its validation split"):
        train(recipe(), data, tmp_path / "run")


def test_a_run_killed_after_its_early_stop_is_not_trained_further(
    few_faces: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise PowerCutError

    settings = recipe(epochs=9, patience=1, select="balanced_accuracy", ema=0.0)
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        patch.setattr("train.fitting.fit._finish", killed)
        train(settings, few_faces, tmp_path / "run", steps=1)
    before = (tmp_path / "run" / HISTORY).read_text()
    assert before.count("\n") < 9
    train(settings, few_faces, tmp_path / "run", steps=1)
    assert (tmp_path / "run" / HISTORY).read_text() == before
    assert load_run(tmp_path / "run").finished


# Averages


def test_the_average_forgets_its_start_and_then_follows_slowly() -> None:
    model = K.Sequential([K.Input((1,)), K.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(K.optimizers.SGD(0.0))
    model.optimizer.build(model.trainable_variables)
    average = Average(model, 0.9)
    average.set_model(model)
    model.weights[0].assign([[1.0]])
    expected = 0.0
    for step in range(100):
        model.optimizer.iterations.assign(step)
        average.on_train_batch_end(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
        assert average.shadows[0].numpy().item() == pytest.approx(expected, abs=1e-5)
    assert average.shadows[0].numpy().item() > 0.999


# Freezing and plateaus


def learned(before: Sequence[Any], after: Sequence[Any]) -> list[bool]:
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def test_layers_are_freed_while_a_run_goes_on(few_faces: DataSet, finished_run: FinishedRuns, tmp_path: Path) -> None:
    """All but the head frozen at first, half of them freed in the second epoch: the stem still has its weights."""
    first = finished_run()
    settings = recipe(epochs=2, freeze=1.0, unfreeze_epochs=2, ema=0.0, select="balanced_accuracy")
    train(settings, few_faces, tmp_path / "run", weights=str(first / BEST), start="first")
    reader = tf.train.load_checkpoint(str(tmp_path / "run" / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("average/")]
    after = [reader.get_tensor(f"average/{number}/.ATTRIBUTES/VARIABLE_VALUE") for number in range(len(names))]
    before = [weight.numpy() for weight in load_run(first).build().weights]
    changed = learned(before, after)
    assert not changed[0]
    assert any(changed[len(changed) // 3 : -2])


def test_without_pretrained_weights_nothing_is_frozen(few_faces: DataSet, tmp_path: Path) -> None:
    settings = recipe(epochs=1, freeze=1.0, ema=0.0)
    train(settings, few_faces, tmp_path / "run")
    K.utils.set_random_seed(settings.seed)
    fresh = settings.build(8, weights=None).get_weights()
    assert learned(fresh, load_run(tmp_path / "run").build().get_weights())[0]


def test_unfreezing_traces_the_step_anew_only_when_something_changes() -> None:
    model = recipe().build(8, weights=None)
    model.compile("sgd", "mse")
    callback = Unfreeze(recipe(freeze=0.5, unfreeze_epochs=2))
    callback.set_model(model)
    callback.on_epoch_begin(0)
    first = model.train_function
    callback.on_epoch_begin(0)
    assert model.train_function is first
    callback.on_epoch_begin(2)
    assert model.train_function is not first
    assert all(layer.trainable for layer in model.layers)


def test_the_rate_falls_when_the_validation_loss_has_not_for_some_epochs(tmp_path: Path) -> None:
    settings = recipe(schedule="plateau")
    model = settings.build(8, weights=None)
    model.compile(K.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    rate = LearningRate(settings, 2)
    state = State(model, Average(model, 0.9).shadows, rate, tmp_path)
    for epoch, loss in enumerate([1.0, 0.9, 0.95, 0.95, 0.95], start=1):
        assert float(rate.factor) == 1
        state.note(epoch, 0.5, loss)
        state.lower_rate_on_plateau()
    assert PLATEAU_PATIENCE == 3
    assert float(rate.factor) == pytest.approx(PLATEAU_FACTOR)


# Teachers


def test_a_teacher_sees_the_students_picture_in_its_own_size_colours_and_range() -> None:
    grey = tf.fill([2, 48, 48, 1], 64.0)
    seen = _as_input(grey, "gray", rgb_input(96, scale=1 / 255, offset=0.0))
    assert seen.shape == (2, 96, 96, 3)
    assert seen.numpy() == pytest.approx(64 / 255)
    blue = tf.constant(np.tile(np.array([255, 0, 0], np.float32), (1, 48, 48, 1)))
    as_rgb = _as_input(blue, "bgr", rgb_input(48, scale=1.0, offset=0.0))
    assert as_rgb[0, 0, 0].numpy().tolist() == [0, 0, 255]
    as_grey = _as_input(blue, "bgr", gray_input(48))
    assert float(as_grey[0, 0, 0, 0]) == pytest.approx(255 * 0.114 / 128 - 1, abs=0.01)

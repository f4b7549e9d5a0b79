"""Fitting: options, resuming, content of a run directory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fer_files import fer_plus
from support.paths import ROOT

from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.data.duplicates import drop_copies
from train.data.layouts import DataError, DataSet
from train.fitting.fit import fit
from train.recipes.catalogue import find_recipe
from train.recipes.recipe import Recipe
from train.runs.run_directory import BEST, HISTORY, RECORD, load_run

pytestmark = pytest.mark.usefixtures("shallow_tiny")


def quick(name: str, **changes: object) -> Recipe:
    return find_recipe(name).change(**{"batch_size": 4, "epochs": 2, **changes})


def train(recipe: Recipe, data: DataSet, run: Path, *, steps: int = 2, teachers: tuple[Path, ...] = ()) -> Path:
    return fit(recipe, data, run, weights=None, start="random", steps=steps, teachers=teachers)


OPTIONS: dict[str, dict[str, object]] = {
    "three classes, Adam, steps": {"classes": 3, "optimizer": "adam", "schedule": "step"},
    "four classes, SGD, plateau": {"classes": "4", "optimizer": "sgd", "schedule": "plateau"},
    "seven classes, mixing": {"classes": 7, "mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1},
    "rare classes": {"class_weights": 0.5, "oversample": 0.5, "adjust": 0.5, "compensate": True},
    "dropout, choice by balance": {"dropout": 0.5, "select": "balanced_accuracy"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_any_recipe_can_set_any_option(options: dict[str, object], few_faces: DataSet, tmp_path: Path) -> None:
    train(quick("tiny", **options), few_faces, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert len(run.classes) == int(str(options.get("classes", 8)))
    assert np.isfinite(run.history["loss"]).all()


def test_the_classes_of_a_run_are_its_outputs(few_faces: DataSet, tmp_path: Path) -> None:
    train(quick("tiny", classes="sad, happy, angry", epochs=1), few_faces, tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.classes == ("happiness", "sadness", "anger")
    assert run.build().output_shape == (None, 3)


def test_a_student_learns_from_the_answers_of_its_teachers(few_faces: DataSet, tmp_path: Path) -> None:
    """With the teacher's predictions as the only targets, the student's predictions approach the teacher's."""
    train(quick("tiny", epochs=1), few_faces, tmp_path / "teacher")
    teacher = load_run(tmp_path / "teacher").build()
    bias = np.array([0, 0, 0, 6, 0, 0, 0, 0], np.float32)
    teacher.get_layer("logits").bias.assign(bias)
    teacher.save_weights(tmp_path / "teacher" / BEST)
    recipe = quick("tiny", epochs=3, distill=1.0, ema=0.0, learning_rate=0.02, warmup_epochs=0)
    train(recipe, few_faces, tmp_path / "student", steps=10, teachers=(tmp_path / "teacher",))
    run = load_run(tmp_path / "student")
    pictures = np.random.default_rng(0).uniform(-1, 1, (8, 48, 48, 1)).astype(np.float32)
    assert (run.build().predict_on_batch(pictures).argmax(axis=1) == 3).all()
    assert [teacher.split()[0] for teacher in run.record["teachers"]] == ["teacher"]


def test_a_teacher_of_other_classes_is_refused(few_faces: DataSet, tmp_path: Path) -> None:
    train(quick("tiny", epochs=1, classes=3), few_faces, tmp_path / "teacher")
    with pytest.raises(ConfigError, match=r"teacher .* has the classes happiness, sadness, anger, not "):
        train(quick("tiny", distill=0.5), few_faces, tmp_path / "student", teachers=(tmp_path / "teacher",))


def test_a_run_that_gets_no_better_is_stopped_early(
    few_faces: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(
        quick("tiny", epochs=9, patience=2, select="balanced_accuracy", ema=0.0), few_faces, tmp_path / "run", steps=1
    )
    run = load_run(tmp_path / "run")
    assert run.finished
    assert len(run.history["loss"]) == run.record["epochs"] < 9
    best = run.record["epochs"] - 2
    assert run.record["best_epoch"] == best
    words = (
        f"stopped early, 2 epochs after the best one; best of {best + 2} epochs: {best}, with a validation balanced_"
    )
    assert words in capsys.readouterr().out


def test_frozen_layers_keep_the_weights_that_they_start_from_and_the_head_learns(
    few_faces: DataSet, tmp_path: Path
) -> None:
    first = train(quick("tiny", epochs=1), few_faces, tmp_path / "first")
    recipe = quick("tiny", epochs=1, freeze=1.0, ema=0.0)
    fit(recipe, few_faces, tmp_path / "run", weights=str(first), start="the first run", steps=2)
    before, after = (load_run(tmp_path / name).build().get_weights() for name in ("first", "run"))
    same = [bool(np.array_equal(a, b)) for a, b in zip(before, after, strict=True)]
    assert all(same[:-2])
    assert not any(same[-2:])


def test_the_same_seed_gives_the_same_run(few_faces: DataSet, tmp_path: Path) -> None:
    recipe = quick("tiny", oversample=0.5, mixup=0.2)
    for name in ("one", "two"):
        train(recipe, few_faces, tmp_path / name)
    one, two = (load_run(tmp_path / name) for name in ("one", "two"))
    assert one.history == two.history
    assert all(np.array_equal(a, b) for a, b in zip(one.build().get_weights(), two.build().get_weights(), strict=True))


# Run directories


def test_a_run_says_what_it_was_made_from(few_faces: DataSet, tmp_path: Path) -> None:
    train(quick("tiny", epochs=1), few_faces, tmp_path / "run")
    record = json.loads((tmp_path / "run" / RECORD).read_text())
    clean, _ = drop_copies(few_faces, near=True)
    assert record["fingerprint"] == clean.fingerprint(["train"])
    assert record["held_out"] == few_faces.fingerprint(["validation"])
    assert record["faces"] == {split: len(faces) for split, faces in clean.splits.items()}
    assert record["class_prior"] == pytest.approx(clean["train"].votes.mean(axis=0).tolist(), abs=1e-5)
    assert record["versions"]["tensorflow"].startswith("2.")
    assert (record["start"], record["dataset"], record["protocol"]) == ("random", "FER+", "majority")
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))


PROGRAM = """
import sys
from pathlib import Path
from train.data.layouts import load_fer_plus
from train.fitting.fit import fit
from train.networks import mobilenet_v2
from train.recipes.catalogue import find_recipe
mobilenet_v2.TINY_BLOCKS = mobilenet_v2.TINY_BLOCKS[:1]
data = load_fer_plus(Path(sys.argv[1]))
recipe = find_recipe("tiny").change(batch_size=4, epochs=int(sys.argv[3]))
fit(recipe, data, Path(sys.argv[2]), weights=None, start="random", steps=2)
"""


def test_a_run_leaves_a_draft_of_its_manifest(few_faces: DataSet, tmp_path: Path) -> None:
    train(quick("tiny", epochs=1, classes=4), few_faces, tmp_path / "run")
    draft = json.loads((tmp_path / "run" / "manifest.draft.json").read_text())
    assert draft["labels"] == ["neutral", "happiness", "surprise", "sadness"]
    assert list(draft["calibration"]["operating_points"]) == ["accurate", "balanced"]
    assert draft["metrics"]["validation/float32"]["n"] > 10
    assert draft["training"]["recipe"] == "tiny"


def test_a_killed_run_goes_on_after_its_last_finished_epoch(few_faces: DataSet, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-c", PROGRAM, str(fer_plus(tmp_path / "fer", per_class=8)), str(run), "8"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "checkpoint").is_file():
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait(10)
    assert not load_run(run).finished
    with pytest.raises(ConfigError, match="another recipe"):
        train(quick("tiny"), few_faces, run)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert f"resuming {run} after epoch" in again.stdout
    assert load_run(run).history["epoch"] == list(range(8))
    assert (run / BEST).is_file()


def test_a_finished_run_is_not_trained_further(few_faces: DataSet, tmp_path: Path) -> None:
    recipe = quick("tiny", epochs=1)
    before = train(recipe, few_faces, tmp_path / "run").read_bytes()
    assert train(recipe, few_faces, tmp_path / "run").read_bytes() == before
    assert len((tmp_path / "run" / HISTORY).read_text().splitlines()) == 2


def test_a_directory_with_something_else_is_left_alone(few_faces: DataSet, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all my work")
    with pytest.raises(ConfigError, match="not empty and holds no training run"):
        train(quick("tiny"), few_faces, tmp_path)
    with pytest.raises(ConfigError, match="not a training run"):
        load_run(tmp_path)


def test_data_without_a_class_is_refused_before_anything_is_written(few_faces: DataSet, tmp_path: Path) -> None:
    rows = np.flatnonzero(few_faces["train"].labels != EMOTIONS.index("happiness"))
    poor = replace(few_faces, splits={**few_faces.splits, "train": few_faces["train"].take(rows)})
    with pytest.raises(DataError, match="no training face of happiness"):
        train(quick("tiny"), poor, tmp_path / "run")
    assert not (tmp_path / "run").exists()

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
from support.finished_runs import FinishedRuns
from support.paths import ROOT
from support.shallow import BLOCKS

from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.data.duplicates import drop_copies
from train.data.layouts import DataError, DataSet, load_fer_plus
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
    "named classes, Adam, steps, dropout": {
        "classes": "sad, happy, angry",
        "optimizer": "adam",
        "schedule": "step",
        "dropout": 0.5,
        "select": "balanced_accuracy",
    },
    "four classes, SGD, plateau, rare classes": {
        "classes": "4",
        "optimizer": "sgd",
        "schedule": "plateau",
        "class_weights": 0.5,
        "oversample": 0.5,
        "adjust": 0.5,
        "compensate": True,
    },
    "seven classes, mixing": {"classes": 7, "mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1},
}
CLASSES = {
    "sad, happy, angry": ("happiness", "sadness", "anger"),
    "4": ("neutral", "happiness", "surprise", "sadness"),
    7: EMOTIONS[:7],
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_any_recipe_can_set_any_option(options: dict[str, object], finished_run: FinishedRuns) -> None:
    run = load_run(finished_run(**options))
    assert np.isfinite(run.history["loss"]).all()
    assert run.classes == CLASSES[options["classes"]]
    assert run.build().output_shape == (None, len(run.classes))


def test_a_student_learns_from_the_answers_of_its_teachers(
    few_faces: DataSet, finished_run: FinishedRuns, tmp_path: Path
) -> None:
    """With the teacher's predictions as the only targets, the student's predictions approach the teacher's."""
    teacher = load_run(finished_run.copy(tmp_path / "teacher")).build()
    bias = np.array([0, 0, 0, 6, 0, 0, 0, 0], np.float32)
    teacher.get_layer("logits").bias.assign(bias)
    teacher.save_weights(tmp_path / "teacher" / BEST)
    recipe = quick("tiny", epochs=3, distill=1.0, ema=0.0, learning_rate=0.02, warmup_epochs=0)
    train(recipe, few_faces, tmp_path / "student", steps=10, teachers=(tmp_path / "teacher",))
    run = load_run(tmp_path / "student")
    pictures = np.random.default_rng(0).uniform(-1, 1, (8, 48, 48, 1)).astype(np.float32)
    assert (run.build().predict_on_batch(pictures).argmax(axis=1) == 3).all()
    assert [teacher.split()[0] for teacher in run.record["teachers"]] == ["teacher"]


def test_a_teacher_of_other_classes_is_refused(few_faces: DataSet, finished_run: FinishedRuns, tmp_path: Path) -> None:
    teacher = finished_run(**OPTIONS["named classes, Adam, steps, dropout"])
    with pytest.raises(ConfigError, match=r"teacher .* has the classes happiness, sadness, anger, not "):
        train(quick("tiny", distill=0.5), few_faces, tmp_path / "student", teachers=(teacher,))


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
    few_faces: DataSet, finished_run: FinishedRuns, tmp_path: Path
) -> None:
    first = finished_run()
    recipe = quick("tiny", epochs=1, freeze=1.0, ema=0.0)
    fit(recipe, few_faces, tmp_path / "run", weights=str(first / BEST), start="the first run", steps=2)
    before, after = (load_run(run).build().get_weights() for run in (first, tmp_path / "run"))
    same = [bool(np.array_equal(a, b)) for a, b in zip(before, after, strict=True)]
    assert all(same[:-2])
    assert not any(same[-2:])


def test_the_same_seed_gives_the_same_run(few_faces: DataSet, finished_run: FinishedRuns, tmp_path: Path) -> None:
    options = OPTIONS["seven classes, mixing"]
    train(quick("tiny", **options), few_faces, tmp_path / "again")
    one, two = (load_run(run) for run in (finished_run(**options), tmp_path / "again"))
    assert one.history == two.history
    assert all(np.array_equal(a, b) for a, b in zip(one.build().get_weights(), two.build().get_weights(), strict=True))


# Run directories


def test_a_run_says_what_it_was_made_from(few_faces: DataSet, finished_run: FinishedRuns) -> None:
    record = json.loads((finished_run() / RECORD).read_text())
    clean, _ = drop_copies(few_faces, near=True)
    assert record["fingerprint"] == clean.fingerprint(["train"])
    assert record["held_out"] == few_faces.fingerprint(["validation"])
    assert record["faces"] == {split: len(faces) for split, faces in clean.splits.items()}
    assert record["class_prior"] == pytest.approx(clean["train"].votes.mean(axis=0).tolist(), abs=1e-5)
    assert record["versions"]["tensorflow"].startswith("2.")
    assert (record["start"], record["dataset"], record["protocol"]) == ("random", "FER+", "majority")
    assert list((finished_run() / "tensorboard").rglob("events*"))
    assert (finished_run() / HISTORY).read_text().count("\n") == 3


PROGRAM = f"""
import sys
from pathlib import Path
from train.data.layouts import load_fer_plus
from train.fitting.fit import fit
from train.networks import mobilenet_v2
from train.recipes.catalogue import find_recipe
mobilenet_v2.TINY_BLOCKS = {BLOCKS}
data = load_fer_plus(Path(sys.argv[1]))
recipe = find_recipe("tiny").change(batch_size=4, epochs=4)
fit(recipe, data, Path(sys.argv[2]), weights=None, start="random", steps=2)
"""


def test_a_run_leaves_a_draft_of_its_manifest(finished_run: FinishedRuns) -> None:
    run = finished_run(**OPTIONS["four classes, SGD, plateau, rare classes"])
    draft = json.loads((run / "manifest.draft.json").read_text())
    assert draft["labels"] == ["neutral", "happiness", "surprise", "sadness"]
    assert list(draft["calibration"]["operating_points"]) == ["accurate", "balanced"]
    assert draft["metrics"]["validation/float32"]["n"] > 10
    assert draft["training"]["recipe"] == "tiny"


def test_a_killed_run_goes_on_after_its_last_finished_epoch(
    few_faces: DataSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, faces = tmp_path / "run", fer_plus(tmp_path / "fer", per_class=8)
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", PROGRAM, str(faces), str(run)]
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
    train(quick("tiny", epochs=4), load_fer_plus(faces), run)
    assert f"resuming {run} after epoch" in capsys.readouterr().out
    assert load_run(run).history["epoch"] == list(range(4))
    assert (run / BEST).is_file()


def test_a_finished_run_is_not_trained_further(few_faces: DataSet, finished_run: FinishedRuns) -> None:
    run = finished_run()
    before = {path: path.read_bytes() for path in (run / BEST, run / HISTORY)}
    assert train(quick("tiny"), few_faces, run) == run / BEST
    assert {path: path.read_bytes() for path in before} == before


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

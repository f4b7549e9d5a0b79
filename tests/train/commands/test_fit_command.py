"""The command line of training: recipes changed by its options, and one run with all of them."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.fer_files import fer_plus

from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from edge_emotion.models.folder import find_model, load_manifest
from train.commands.cli import main
from train.commands.fit_command import DISTILL, add_fit, chosen_recipe, describe_start, without_effect
from train.recipes.catalogue import EDGE, RECIPES, find_recipe
from train.recipes.recipe import Recipe
from train.recipes.starts import rebuild_exported
from train.runs.run_directory import BEST, create, load_run


def chosen(*words: str) -> Recipe:
    parser = argparse.ArgumentParser()
    add_fit(parser.add_subparsers())
    return chosen_recipe(parser.parse_args(["fit", "--data", ".", "--recipe", *words]))


# Where a run starts


@pytest.mark.parametrize(
    ("weights", "start"),
    [(None, "random"), ("imagenet", "ImageNet"), ("/home/me/lite.npz", "pretrained (lite.npz)")],
)
def test_the_start_is_described_without_paths(weights: str | None, start: str) -> None:
    assert describe_start(weights) == start


@pytest.mark.parametrize(
    ("record", "words"),
    [({"finished": True, "epochs": 7}, "tiny after 7 epochs from random"), ({}, "tiny unfinished from random")],
)
def test_a_start_from_another_run_says_how_long_that_was_trained(
    record: dict[str, object], words: str, tmp_path: Path
) -> None:
    """Stopped early, or killed: fewer epochs than its recipe has."""
    settings = find_recipe("tiny").change(epochs=9).model_dump(mode="json")
    create(tmp_path / "first", {"recipe": settings, "classes": list(EMOTIONS), "start": "random", **record})
    weights = tmp_path / "first" / BEST
    weights.write_text("weights")
    text = describe_start(str(weights))
    assert text.startswith(f"{words} (best.h5, sha256 ") and str(tmp_path) not in text


# What the options make of a recipe


@pytest.mark.parametrize(
    ("words", "share"),
    [
        (["resnet34"], 0.0),
        (["resnet34", "--teacher", "a"], DISTILL),
        (["resnet34", "--teacher", "a", "--set", "distill=0.2"], 0.2),
        (["tiny", "--teacher", "a"], find_recipe("tiny").distill),
        (["tiny", "--teacher", "a", "--set", "distill=0"], 0.0),
    ],
)
def test_the_share_of_teachers_is_the_commands_then_the_recipes(words: list[str], share: float) -> None:
    assert chosen(*words).distill == share


def test_a_recipes_own_share_of_the_teachers_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "tiny", find_recipe("tiny").change(distill=0.1))
    assert chosen("tiny", "--teacher", "a").distill == 0.1


def test_the_edge_recipes_state_the_share_that_they_were_trained_with() -> None:
    assert {recipe.distill for recipe in EDGE} == {0.7}


@pytest.mark.parametrize(
    ("words", "votes"),
    [
        ([], {"disgust": 2, "fear": 2}),
        (["label_votes.fear=3"], {"disgust": 2, "fear": 3}),
        (["label_votes.fear=3", "label_votes.anger=1"], {"disgust": 2, "fear": 3, "anger": 1}),
        (["label_votes={fear: 3}"], {"fear": 3}),
        (["label_votes={}"], {}),
    ],
)
def test_one_of_several_votes_can_be_changed_alone(words: list[str], votes: dict[str, float]) -> None:
    assert chosen("tiny", *(word for each in words for word in ("--set", each))).label_votes == votes


def test_no_weights_can_be_set_as_well_as_given() -> None:
    assert chosen("mobilenet_v2", "--set", "weights=none").weights is None


def test_a_recipe_without_a_crop_sees_as_much_as_its_input_holds() -> None:
    assert chosen("mobilenet_v2", "--set", "input.crop=null").input.detail == 96


@pytest.mark.parametrize(
    ("changes", "start", "taught", "lines"),
    [
        ({"distill": 0.5, "distill_temperature": 2.0}, None, True, []),
        ({"distill": 0.5}, None, False, ["distill has no effect without --teacher"]),
        ({"optimizer": "adam", "weight_decay": 0.1}, None, False, ["weight_decay has no effect with optimizer adam"]),
        ({"optimizer": "adam"}, None, False, []),
        ({"freeze": 0.5}, None, False, ["freeze has no effect on random weights"]),
        ({"freeze": 0.5, "unfreeze_epochs": 2}, "best.h5", False, []),
        ({"unfreeze_epochs": 2}, "best.h5", False, ["unfreeze_epochs has no effect without freeze"]),
    ],
)
def test_settings_without_effect_are_named(
    changes: dict[str, object], start: str | None, taught: bool, lines: list[str]
) -> None:
    ignored = list(without_effect(find_recipe("tiny").change(**changes), set(changes), start=start, taught=taught))
    assert len(ignored) == len(lines)
    assert all(line.startswith(words) for line, words in zip(ignored, lines, strict=True))


# Commands


@pytest.mark.usefixtures("shallow_tiny")
def test_a_run_is_what_its_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A teacher, and a student that begins with its weights."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    data, teacher, student = fer_plus(tmp_path / "fer"), tmp_path / "teacher", tmp_path / "student"
    command = ["fit", "--recipe", "tiny", "--data", str(data), "--set", "batch_size=8"]
    assert main([*command, "--run", str(teacher), "--epochs", "1", "--set", "distill=0.4"]) == 0
    printed = capsys.readouterr()
    assert "tiny starts from random weights" in printed.out and "distill has no effect without --teacher" in printed.err
    log = ["--log", "wandb"] if find_spec("wandb") else []
    options = ["--teacher", str(teacher), "--weights", str(teacher / BEST), "--epochs", "2", "--seed", "3", *log]
    assert main([*command, "--run", str(student), *options, "--set", "augmentation.blur=0.3"]) == 0
    printed = capsys.readouterr()
    assert "FER+ with FER2013's label as further votes (disgust 2, fear 2): train 16, validation 16" in printed.out
    assert printed.out.endswith(f"best weights: {student / BEST}\n")
    run = load_run(student)
    assert run.finished and run.history["epoch"] == [0, 1]
    assert (run.recipe.epochs, run.recipe.seed, run.recipe.distill, run.recipe.augmentation.blur) == (2, 3, 0.7, 0.3)
    assert run.record["start"].startswith("tiny after 1 epochs from random (best.h5")
    assert [name.split()[0] for name in run.record["teachers"]] == ["teacher"]
    assert len(list(student.glob("wandb/offline-run-*"))) == len(log) // 2


def test_a_shipped_model_is_a_start_for_its_own_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[float] = []

    def fit(recipe: Recipe, *_: object, weights: str, **__: object) -> None:
        kernel = recipe.build(4, weights=weights).get_layer("stem").get_weights()[0]
        started.append(float(abs(kernel - rebuild_exported("tiny")[0].get_layer("stem").get_weights()[0]).max()))

    monkeypatch.setattr("train.fitting.fit.fit", fit)
    command = ["fit", "--data", str(fer_plus(tmp_path / "fer", per_class=1)), "--weights", "tiny", "--recipe"]
    assert main([*command, "tiny", "--set", "classes=4"]) == 0
    version = load_manifest(find_model("tiny")).version
    assert f"tiny starts from tiny {version} (tiny_float16.tflite, sha256 " in capsys.readouterr().out
    assert started == [0]
    assert main([*command, "mobilenet_v2"]) == 2
    assert capsys.readouterr().err == (
        "error: --weights tiny: its network is that of --recipe tiny, not of mobilenet_v2\n"
    )


def test_votes_that_a_data_set_does_not_have_are_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[Recipe] = []
    monkeypatch.setattr("train.fitting.fit.fit", lambda recipe, *_, **__: trained.append(recipe))
    data = str(fer_plus(tmp_path / "fer", per_class=1))
    for layout in ("fer2013", "fer_plus"):
        command = ["fit", "--recipe", "tiny", "--data", data, "--layout", layout, "--set", "label_votes.fear=3"]
        assert main(command) == 0
    assert [recipe.label_votes for recipe in trained] == [{}, {"disgust": 2, "fear": 3}]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("label_votes has no effect on FER2013: only FER+")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--recipe", "mobilnet"], 2, "no recipe 'mobilnet'; did you mean 'mobilenet_v2'?"),
        (["--recipe", "tiny"], 7, "has no known layout. Looked for fer_plus: fer2013.csv"),
        (["--recipe", "tiny", "--set", "mixpu=0.2"], 2, "recipe tiny: no setting mixpu, did you mean mixup?"),
        (["--recipe", "tiny", "--set", "augmentation.blr=0.2"], 2, "no setting augmentation.blr, did you mean blur?"),
        (["--recipe", "tiny", "--set", "mixup=often"], 2, "recipe tiny: mixup: must be a number"),
        (["--recipe", "tiny", "--set", "classes=happy,hapy"], 2, "unknown emotion 'hapy': did you mean 'happiness'?"),
        (
            ["--recipe", "tiny", "--set", "input.channels=3"],
            2,
            "tiny: input: channels 3 and colour gray: gray has 1",
        ),
        (
            ["--recipe", "tiny", "--set", "input.colour=rgb"],
            2,
            "tiny: input: channels 1 and colour rgb: gray has 1",
        ),
        (["--recipe", "tiny", "--set", "epochs=0"], 2, "recipe tiny: epochs: must be greater than 0"),
    ],
)
def test_wrong_commands_are_one_line(
    arguments: list[str], code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--data", str(tmp_path), *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_the_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(RECIPES)

"""Measuring runs, ensembles and exported models, on crops and end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.fer_files import fer_plus

from edge_emotion.errors import ConfigError
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.labels import EMOTIONS

pytest.importorskip("tf_keras")

from train.commands.cli import main
from train.data.faces import DataSet
from train.evaluation.end_to_end import measure_end_to_end
from train.evaluation.evaluate import Answer, answer, ensemble, evaluate, measured_faces, translate
from train.evaluation.predict import Prediction, logits_of_target


def predicted(name: str, classes: tuple[str, ...], *logits: tuple[float, ...]) -> Prediction:
    return Prediction(name, classes, np.array(logits, np.float32), 4)


@pytest.fixture(scope="module")
def some(fer_plus: DataSet) -> DataSet:
    """300 faces of the validation split."""
    return DataSet("FER+", "majority", fer_plus.classes, {"validation": fer_plus["validation"].take(np.arange(300))})


# Values


def test_faces_of_a_class_that_the_model_does_not_know_do_not_count() -> None:
    rows, truth = translate(np.array([0, 1, 2, 2]), ("neutral", "anger", "fear"), ("fear", "neutral"))
    assert rows.tolist() == [0, 2, 3]
    assert truth.tolist() == [1, 0, 0]


def test_a_model_with_classes_in_another_order_is_measured_by_name() -> None:
    model = predicted("a", ("fear", "neutral"), (9, 0), (0, 9), (9, 0))
    figures = evaluate(answer(model), np.array([1, 0, 1]), ("neutral", "fear"))
    assert figures.accuracy == 1


def test_restricting_the_classes_leaves_out_the_others_answers() -> None:
    """Neutral has the highest logit, but only happiness and sadness are allowed."""
    model = predicted("a", ("neutral", "happiness", "sadness"), (9, 5, 1), (9, 1, 5))
    said_of_two = answer(model, classes=("happiness", "sadness"))
    figures = evaluate(said_of_two, np.array([1, 2]), model.classes)
    assert (figures.classes, figures.accuracy) == (("happiness", "sadness"), 1)


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    classes = ("neutral", "fear")
    both = ensemble([Answer("a", classes, np.array([[0, np.log(3)]])), Answer("b", classes, np.zeros((1, 2)))])
    assert np.exp(both.logits[0]) == pytest.approx([(1 / 4 + 1 / 2) / 2, (3 / 4 + 1 / 2) / 2])
    assert both.name == "a + b"


def test_an_ensemble_of_different_classes_is_refused() -> None:
    with pytest.raises(ConfigError, match="b has the classes neutral, anger, not "):
        ensemble(
            [answer(predicted("a", ("neutral", "fear"), (0, 1))), answer(predicted("b", ("neutral", "anger"), (0, 1)))]
        )


def test_a_run_has_no_operating_points() -> None:
    with pytest.raises(ConfigError, match="has no operating points"):
        answer(predicted("a", ("neutral", "fear"), (0, 1)), operating_point="balanced")


# The models that ship, on real faces


def test_an_exported_model_answers_through_the_runtime(some: DataSet) -> None:
    faces = measured_faces(some, "validation", protocol="majority")
    prediction = logits_of_target(Path("tiny"), faces)
    classifier = make_classifier("tiny")
    told = answer(prediction)
    expected = [row.probabilities for row in classifier.scores(prediction.logits)]
    assert told.classes == EMOTIONS
    assert np.exp(told.logits) == pytest.approx(np.array(expected), abs=1e-9)
    assert evaluate(told, faces.labels, some.classes).accuracy > 0.75
    assert prediction.size_bytes < 300_000


def test_the_winner_protocol_counts_every_face(some: DataSet) -> None:
    every = measured_faces(some, "validation", protocol="winner")
    clear = measured_faces(some, "validation", protocol="majority")
    assert len(every) == 300 > len(clear) > 250


def test_the_whole_path_costs_little(some: DataSet) -> None:
    """Pasted at 100 to 220 pixels: most are found, and those are classified about as well as the crops."""
    faces = some["validation"].majority()
    faces = faces.take(np.arange(150))
    path = measure_end_to_end(make_classifier("mobilenet_v2"), make_detector("blazeface_back"), faces, faces.labels)
    assert path.n == 150
    assert path.found >= 140
    assert path.accuracy > 0.8
    assert abs(path.difference) < 0.06
    assert path.interval[0] <= path.difference <= path.interval[1]


def test_evaluate_prints_figures_of_several_models_and_draws_them(
    fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "tiny", "mobilenet_v2", "--ensemble", "--data", str(fer_folder), "--split", "PublicTest"]
    assert main([*command, "--classes", "4", "--out", str(tmp_path / "out"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert [result["target"] for result in results] == ["tiny", "mobilenet_v2", "tiny + mobilenet_v2"]
    assert {result["figures"]["n"] for result in results} == {1182 + 865 + 415 + 351}
    assert results[2]["figures"]["accuracy"] > 0.88
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[:4] == [
        "mobilenet_v2-confusion.png",
        "mobilenet_v2-confusion.svg",
        "mobilenet_v2-reliability.png",
        "mobilenet_v2-reliability.svg",
    ]


def test_models_of_equal_name_do_not_overwrite_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "tiny", "tiny", "--data", str(fer_plus(tmp_path / "fer")), "--out", str(tmp_path / "out")]
    assert main([*command, "--json"]) == 0
    assert [one["target"] for one in json.loads(capsys.readouterr().out)] == ["tiny", "tiny (2)"]
    assert len(list((tmp_path / "out").glob("*.png"))) == len(list((tmp_path / "out").glob("*.svg"))) == 4


@pytest.fixture(scope="module")
def pictures(some: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty clear faces as files, the same for training and for validation."""
    folder = tmp_path_factory.mktemp("faces")
    faces = some["validation"].majority()
    for row in range(40):
        for split in ("train", "validation"):
            place = folder / split / some.classes[faces.labels[row]]
            place.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(place / f"{row}.png"), faces.images[row])
    return folder


def test_the_command_measures_the_whole_path_at_an_operating_point(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", "tiny", "--data", str(pictures), "--operating-point", "balanced"]
    assert main([*command, "--whole-path", "--detector", "blazeface_short", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)
    path = result["whole_path"]
    assert path["n"] == result["figures"]["n"] == 40 > path["found"] > 15
    assert path["interval"][0] <= path["accuracy"] - path["cropped"] <= path["interval"][1]
    assert main([*command, "--whole-path"]) == 0
    assert "end to end with blazeface_back: found " in capsys.readouterr().out


def test_the_command_measures_how_faces_are_framed(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crop", "--data", str(pictures), "--count", "30"]) == 0
    assert re.match(r"blazeface_back: found \d+ of 30 training faces; margin -?0\.\d{3} ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tiny", "--data", ".", "--detector", "blazeface_short"], 2, "--detector is for --whole-path"),
        (["tiny", "--data", "nowhere"], 7, "nowhere does not exist"),
        (["tiny", "--data", ".", "--classes", "4,5"], 2, "unknown emotion '4'"),
        (["no_model", "--data", "."], 2, "no_model"),
    ],
)
def test_wrong_commands_are_one_line(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line

"""Files that end their interpreter's process: the program survives them and names them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.crashing_model import crashing_model, promise_hash
from support.model_folders import copy_with_first_file

from edge_emotion.cli.main import main
from edge_emotion.errors import ModelError
from edge_emotion.factory import model_trial
from edge_emotion.factory.model_trial import try_out
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.models.folder import MANIFEST, load_manifest

DEATH = "ends the process that runs it (tflite) by SIGSEGV: it is damaged or was not made for this interpreter"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes that are started from now on; no file has been tried yet."""
    commands: list[Any] = []
    run = subprocess.run
    monkeypatch.setattr(model_trial, "_faults", {})
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: commands.append(command) or run(command, **options)
    )
    return commands


def test_a_model_that_ends_its_interpreter_is_one_line_in_every_command(
    tmp_path: Path, started: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = crashing_model(tmp_path / "model")
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.zeros((64, 64, 3), np.uint8))
    chosen = ["--source", str(picture), "--jsonl", "-", "--set", f"classifier.model={model}"]
    chosen += ["--set", f"state_dir={tmp_path}"]
    for command in (["classify", str(picture), "--model", str(model)], ["check-config", *chosen], ["run", *chosen]):
        assert main(command) == ModelError.exit_code == 4
        output = capsys.readouterr()
        assert DEATH in output.err and output.err.count("\n") == 1 and not output.out
    assert main(["doctor", "--json", *chosen]) == 9
    assert DEATH in capsys.readouterr().out
    assert len(started) == 1, "tried once in one process"


def test_a_detector_is_tried_as_well(tmp_path: Path, started: list[Any]) -> None:
    folder = copy_with_first_file("blazeface_short", tmp_path / "detector")
    path = folder / load_manifest(folder).files[0].file
    path.write_bytes(path.read_bytes() + bytes(16))
    promise_hash(folder)
    for _ in range(2):
        assert make_detector(str(folder)).backend.input_shape == (128, 128, 3)
    assert len(started) == 1


def test_a_run_without_end_is_ended(tmp_path: Path, started: list[Any]) -> None:
    folder = crashing_model(tmp_path / "model")
    entry = load_manifest(folder).files[0]
    for _ in range(2):
        with pytest.raises(ModelError, match=r"has not ended its first run \(tflite\) after 0\.01 s"):
            try_out(folder / entry.file, entry, "tflite", 1, seconds=0.01)
    assert len(started) == 1


def test_a_shipped_file_is_not_tried_also_in_another_folder(tmp_path: Path, started: list[Any]) -> None:
    make_classifier(str(copy_with_first_file("tiny", tmp_path / "copy")))
    assert not started


def test_a_package_of_the_same_name_before_ours_is_not_run(
    tmp_path: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "edge_emotion").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="by SIGSEGV"):
        make_classifier(str(crashing_model(tmp_path / "model")))


@pytest.mark.parametrize(
    ("program", "words"),
    [("absent", "no process can be started for it: No such file"), ("/bin/false", "ended with exit code 1")],
)
def test_a_file_is_used_without_a_trial_and_that_is_said_where_none_is_possible(
    program: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = crashing_model(tmp_path / "model")
    entry = load_manifest(folder).files[0]
    monkeypatch.setattr(model_trial, "_faults", {})
    monkeypatch.setattr(model_trial.sys, "executable", str(tmp_path / program))
    try_out(folder / entry.file, entry, "tflite", 1)
    assert "is used without a trial" in caplog.text and words in caplog.text


def test_a_file_that_only_raises_is_explained_as_before(
    tmp_path: Path, started: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy_with_first_file("tiny", tmp_path / "model")
    (folder / load_manifest(folder).files[0].file).write_bytes(b"no model")
    promise_hash(folder)
    with pytest.raises(ModelError, match="cannot be loaded as a TFLite model"):
        make_classifier(str(folder))
    assert len(started) == 1 and "without a trial" not in caplog.text


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("calibration", "operating_points", "balanced", "temperature"), 1e-300),
        (("calibration", "class_prior", 0), 1e-300),
        (("input", "scale"), 1e38),
        (("input", "offset"), -1e38),
        (("files", 0, "golden", "tolerance"), 1e30),
    ],
)
def test_numbers_that_make_no_distribution_are_refused(place: tuple[Any, ...], value: float, tmp_path: Path) -> None:
    folder = copy_with_first_file("tiny", tmp_path / "copy")
    data = json.loads((folder / MANIFEST).read_text())
    within = data
    for key in place[:-1]:
        within = within[key]
    assert place[-1] in within or place[-1] == 0
    within[place[-1]] = value
    (folder / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(ModelError, match=str(place[-2] if place[-1] == 0 else place[-1])):
        load_manifest(folder)


def test_a_self_test_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    folder = copy_with_first_file("tiny", tmp_path / "copy")
    data = json.loads((folder / MANIFEST).read_text())
    golden = data["files"][0]["golden"]
    for key in ("seeds", "emotions", "expected"):
        golden[key] = [golden[key][0]] * 900
    data["input"].update(height=1024, width=1024)
    (folder / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(ModelError, match="has 900 inputs, too many of their size"):
        load_manifest(folder)

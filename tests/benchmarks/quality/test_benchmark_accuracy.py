"""Accuracy: the arithmetic of the quality benchmarks, and their commands on a few real faces."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fer_files import fer_plus as noise_faces
from support.model_folders import copy_with_first_file
from support.paths import ROOT

from benchmarks.cli import main
from benchmarks.harness.progress import ProgressBar, draw_bar, show_line, show_progress
from benchmarks.quality.accuracy import (
    accuracy_measurements,
    accuracy_notes,
    correctness,
    mcnemar_tests,
    measure_accuracy,
)
from benchmarks.quality.faces import drawn_faces, find_classifiers, percent, share
from benchmarks.results import results
from benchmarks.results.paired import fingerprint, keep_correctness
from benchmarks.results.results import Result, read_result
from edge_emotion.errors import ConfigError
from edge_emotion.labels import EMOTIONS
from edge_emotion.models.folder import MODELS, load_manifest
from train.data.faces import DataSet, Faces
from train.evaluation.elsewhere import Elsewhere
from train.evaluation.evaluate import Answer


def faces_of(*labels: int) -> Faces:
    votes = np.eye(len(EMOTIONS), dtype=np.float32)[list(labels)]
    return Faces(np.zeros((len(labels), 48, 48), np.uint8), votes, np.ones(len(labels), np.bool_))


def test_a_share_carries_its_n_and_the_score_interval() -> None:
    stats = pytest.importorskip("scipy.stats")
    for hits, n in ((0, 7), (5, 7), (7, 7), (871, 1000)):
        expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert share(hits, n)["interval"] == pytest.approx([expected.low, expected.high], abs=1e-5)
    assert share(0, 0) == {"hits": 0, "n": 0, "share": None, "interval": None}
    assert percent("face", "found", share(0, 0)) == []
    (half,) = percent("face", "found", share(5, 10))
    assert (half.value, half.unit, half.n) == (50, "%", 10)
    assert half.interval == pytest.approx((23.7, 76.3), abs=0.1)


def test_mcnemar_counts_only_faces_whose_class_both_models_have() -> None:
    stats = pytest.importorskip("scipy.stats")
    faces = faces_of(0, 1, 1, 2, 2, 2)
    of_two = Answer("a", EMOTIONS[:2], np.array([[9, 0], [0, 9], [9, 0], [9, 0], [9, 0], [9, 0]], np.float64))
    of_all = Answer("b", EMOTIONS, np.eye(8)[[1, 0, 1, 2, 2, 2]].astype(np.float64))
    right = {one.name: correctness(one, faces, EMOTIONS) for one in (of_two, of_all)}
    assert right["a"].tolist() == [1, 1, 0, -1, -1, -1]
    assert right["b"].tolist() == [0, 0, 1, 1, 1, 1]
    (only,) = mcnemar_tests(right)
    assert (only["n"], only["only_first"], only["only_second"]) == (3, 2, 1)
    assert only["p"] == pytest.approx(stats.binomtest(1, 3).pvalue)


def test_correctness_is_kept_with_a_fingerprint_of_the_faces() -> None:
    faces = faces_of(0, 1, 2)
    kept = keep_correctness({"net": np.array([1, 0, -1], np.int8)}, faces, EMOTIONS)["rightness"]
    assert kept["artefacts"] == {"net": "10-"}
    others = [faces_of(0, 1, 3), faces_of(1, 0, 2), faces_of(0, 1)]
    others.append(Faces(faces.images + np.uint8(1), faces.votes, faces.clear))
    prints = {fingerprint(one, EMOTIONS) for one in others} | {fingerprint(faces, EMOTIONS[::-1])}
    assert len(prints) == 5 and kept["faces"] not in prints
    assert kept["faces"] == fingerprint(faces_of(0, 1, 2), EMOTIONS)


def test_faces_are_drawn_alike_by_seed_and_without_those_that_do_not_count() -> None:
    faces = faces_of(*[0, 1] * 50)
    unclear = Faces(faces.images, faces.votes, np.arange(100) % 4 != 0)
    data = DataSet("d", "majority", EMOTIONS, {"test": unclear})
    first, again, other = (
        drawn_faces(data, "test", protocol="majority", count=20, seed=seed).labels.tolist() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(drawn_faces(data, "test", protocol="majority", count=500, seed=0)) == 75
    assert len(drawn_faces(data, "test", protocol="winner", count=None, seed=0)) == 100


def test_two_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(MODELS / "tiny", copy)
    names = [model.name for model in find_classifiers(["tiny", str(copy), "mobilenet_v2", "tiny"])]
    assert names == [str(MODELS / "tiny"), str(copy), "mobilenet_v2"]
    assert {"tiny", "mobilenet_v2", "efficientnet_lite0"} <= {model.name for model in find_classifiers([])}
    with pytest.raises(ConfigError, match="blazeface_back is no emotion classifier"):
        find_classifiers(["blazeface_back"])


def measure(fer_folder: Path, tmp_path: Path, *options: str) -> Result:
    file = tmp_path / "result.json"
    assert main(["accuracy", "--data", str(fer_folder), "--json", str(file), *options]) == 0
    return read_result(file)


def test_files_may_go_into_the_folder_that_is_made(fer_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "plots"
    model = copy_with_first_file("tiny", tmp_path / "tiny")
    options = ["--data", str(fer_folder), "--model", str(model), "--backend", "tflite", "--faces", "20"]
    assert main(["accuracy", *options, "--out", str(out), "--json", str(out / "a.json")]) == 0
    assert read_result(out / "a.json").benchmark == "accuracy" and len(list(out.glob("*.png"))) == 4


def test_accuracy_measures_every_file_by_every_backend(
    fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--faces", "80", "--model", "tiny", "--model", "mobilenet_v2", "--whole-path", "--split", "validation"]
    result = measure(fer_folder, tmp_path, *options, "--out", str(tmp_path / "out"))
    assert result.settings["protocol"] == "majority" and result.settings["split"] == "validation"
    assert result.settings["whole_path"] is True and result.settings["detector"] == "blazeface_back"
    done: Any = result.details
    assert {one["model"] for one in done["artefacts"].values()} == {"tiny", "mobilenet_v2"}
    shipped = [entry for name in ("tiny", "mobilenet_v2") for entry in load_manifest(MODELS / name).files]
    tflite = [entry for entry in shipped if entry.format == "tflite"]
    assert sum("plain kernels" in name for name in done["artefacts"]) == len(tflite)
    for name, one in done["artefacts"].items():
        figures = one["figures"]
        figure = result.find(name, "accuracy")
        assert figure is not None and figure.interval is not None and figure.n == 80
        assert figure.value == pytest.approx(100 * figures["accuracy"], abs=1e-3)
        assert result.artefacts[f"{one['model']}: {one['file']}"] == one["sha256"]
        assert figures["n"] == np.sum(figures["confusion"]) == 80
        assert figures["accuracy"] == pytest.approx(np.trace(figures["confusion"]) / 80, abs=1e-5)
        assert figures["accuracy_interval"][0] < figures["accuracy"] < figures["accuracy_interval"][1]
        assert figures["accuracy"] > 0.7  # these are real faces and real models
    pairs = len(done["artefacts"]) * (len(done["artefacts"]) - 1) // 2
    assert len(done["duels"]) == pairs
    for subject in ("tiny, whole path", "tiny, followed"):
        figures = done["whole_path"][subject]
        assert figures["detection"]["n"] == 80 and figures["found"] > 68
        path = {one.metric: one for one in result.measurements if one.subject == subject}
        assert path["difference"].better is None
        for metric, key in (("right if found", "accuracy"), ("as cropped", "cropped")):
            value, interval = path[metric].value, path[metric].interval
            assert value == pytest.approx(100 * figures[key], abs=1e-3)
            assert interval is not None and interval[0] < value < interval[1]
    assert done["whole_path"]["tiny, followed"] != done["whole_path"]["tiny, whole path"]
    for name, signs in done["rightness"]["artefacts"].items():
        assert signs.count("1") / len(signs) == pytest.approx(done["artefacts"][name]["figures"]["accuracy"], abs=1e-5)
    assert len(list((tmp_path / "out").glob("*-confusion.png"))) == len(done["artefacts"])
    text = capsys.readouterr().out
    assert "dataset FER+, split validation, protocol majority, faces 80" in text and "McNemar, exact" in text
    assert f"faces: neutral {done['artefacts'][name]['figures']['per_class']['neutral']['n']}, happiness" in text


def test_results_of_accuracy_on_the_same_faces_are_paired(
    fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copy_with_first_file("tiny", tmp_path / "tiny")
    options = ["--faces", "40", "--model", str(model), "--split", "validation"]
    (tmp_path / "first").mkdir()
    for folder in (tmp_path / "first", tmp_path):
        measure(fer_folder, folder, *options)
    capsys.readouterr()
    files = [str(folder / "result.json") for folder in (tmp_path / "first", tmp_path)]
    assert main(["compare", *files, "--fail-on", "accuracy=1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if ": accuracy " in line]
    assert len(lines) == 2 and all(" 1.000 " in line and line.endswith("(p = 1, McNemar)") for line in lines)


def test_an_artefact_that_does_not_run_here_is_named_with_the_reason(
    fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model whose second file returns other logits than its golden set states."""
    folder = copy_with_first_file("tiny", tmp_path / "models" / "tiny")
    manifest = json.loads((folder / "manifest.json").read_text())
    broken = json.loads(json.dumps(manifest["files"][0]))
    broken["file"] = "other.tflite"
    broken["golden"]["expected"] = [[9.0] * 8 for _ in broken["golden"]["expected"]]
    shutil.copy(folder / manifest["files"][0]["file"], folder / "other.tflite")
    manifest["files"].append(broken)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = measure(fer_folder, tmp_path, "--faces", "20", "--model", str(folder), "--backend", "tflite")
    assert done.settings["backend"] == "tflite" and "detector" not in done.settings
    assert set(done.absent) == {"tiny: other.tflite (XNNPACK)", "tiny: other.tflite (plain kernels)"}
    assert "computes something else here" in done.absent["tiny: other.tflite (XNNPACK)"]
    assert "not measured: tiny: other.tflite" in capsys.readouterr().out


def test_a_detector_without_a_whole_path_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accuracy", "--data", "x", "--detector", "blazeface_short"]) == 2
    assert capsys.readouterr().err == "error: --detector blazeface_short is for --whole-path: give both\n"


def test_progress_is_said_by_tenths_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for done in range(1, 1001):
        show_progress("faces", done, 1000)
    assert capsys.readouterr().err.splitlines() == [f"faces: {n} of 1000" for n in range(100, 1001, 100)]
    for done, step in ((64, 64), (128, 64), (130, 2)):
        show_progress("faces", done, 130, step=step)
    assert capsys.readouterr().err.splitlines() == ["faces: 64 of 130", "faces: 128 of 130", "faces: 130 of 130"]


class Terminal(io.StringIO):
    """An error stream that is a terminal of 50 columns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(sys, "stderr", self)
        monkeypatch.setenv("COLUMNS", "50")

    def isatty(self) -> bool:
        return True

    def rows(self) -> list[str]:
        """The printed rows, each with the last text that was written over it."""
        shown = [""]
        for part in re.split(r"([\r\n])", self.getvalue()):
            if part == "\n":
                shown.append("")
            elif part != "\r":
                shown[-1] = part + shown[-1][len(part) :]
        return [row.rstrip() for row in shown]


def test_on_a_terminal_a_bar_is_drawn_over_and_lines_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal(monkeypatch)
    show_progress("faces", 1, 2)
    (half,) = terminal.rows()
    assert half.startswith("faces:  50%|") and "| 1/2 [" in half
    show_line("round 1")
    show_progress("faces", 2, 2)
    draw_bar("runs", 0, 0)  # there is nothing to do: no bar
    line, whole, below = terminal.rows()
    assert (line, below) == ("round 1", "")
    assert whole.startswith("faces: 100%|") and "| 2/2 [" in whole


def test_a_bar_is_no_longer_than_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    terminal = Terminal(monkeypatch)
    for done in (1, 3):
        draw_bar("a subject of many words" * 3, done, 3)
    assert [len(row) for row in terminal.rows()] == [49, 0]


def test_an_error_takes_the_place_of_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")

    def fail(name: Path) -> None:
        draw_bar("faces", 1, 2)
        raise ConfigError(f"no such result: {name}")

    terminal = Terminal(monkeypatch)
    monkeypatch.setattr(results, "read_result", fail)
    assert main(["show", "nowhere.json"]) == 2
    assert terminal.rows() == ["error: no such result: nowhere.json", ""]


def test_without_tqdm_a_terminal_gets_lines_and_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal, bar = Terminal(monkeypatch), ProgressBar()
    for done in (1, 2):
        bar.show("faces", done, 2)
    assert terminal.rows() == ["no progress bars: pip install tqdm", "faces: 1 of 2", "faces: 2 of 2", ""]


def test_nothing_that_runs_is_an_error(fer_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only_tflite = ["--model", "tiny", "--backend", "tensorrt", "--faces", "5"]
    assert main(["accuracy", "--data", str(fer_folder), *only_tflite]) == 4
    assert capsys.readouterr().err.startswith("error: no artefact runs here")


def test_quality_is_measured_where_tensorflow_is_not_installed(tmp_path: Path) -> None:
    program = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tf_keras", "torch", "matplotlib"):
            raise ImportError("refused: " + name)
sys.meta_path.insert(0, Refuse())
from benchmarks.cli import main
raise SystemExit(main(sys.argv[1:]))
"""
    data = noise_faces(tmp_path / "fer", per_class=3)
    command = [sys.executable, "-c", program, "accuracy", "--data", str(data), "--model", "tiny", "--faces", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "faces 20" in done.stdout
    drawing = subprocess.run([*command, "--out", "x"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (drawing.returncode, drawing.stderr) == (
        5,
        "error: to draw plots: pip install matplotlib\n",
    )


def test_sets_from_elsewhere_stand_in_the_table_at_every_operating_point() -> None:
    tiny = find_classifiers(["tiny"])
    random = np.random.default_rng(5)
    faces = Faces(
        random.integers(0, 256, (12, 48, 48)).astype(np.uint8), faces_of(*[0, 1, 4] * 4).votes, np.ones(12, bool)
    )
    acted = Elsewhere("acted", faces, np.repeat(["a", "b", "c"], 4), 14, cropped=True)
    done = measure_accuracy(tiny, faces, EMOTIONS, backend="tflite", elsewhere={"acted": acted})
    points = tiny[0].manifest.calibration.operating_points
    found = {(one.subject, one.metric): one for one in accuracy_measurements(done)}
    for name, artefact in done["artefacts"].items():
        assert set(artefact["elsewhere"]["acted"]) == set(points)
        for point in points:
            accuracy = found[f"{name}, acted, {point}", "accuracy"]
            assert accuracy.n == 12 and accuracy.interval is not None
            assert found[f"{name}, acted, {point}", "ECE"].better == "lower"
            assert found[f"{name}, acted, {point}", "false alarms"].n == 4
    (note,) = [line for line in accuracy_notes(done) if line.startswith("acted: ")]
    assert "12 faces found in 14 pictures, 3 persons" in note and "neutral 4, happiness 4, anger 4" in note

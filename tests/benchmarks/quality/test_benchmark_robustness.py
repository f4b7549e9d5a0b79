"""Corruptions, sequences with known true classes, and the figures computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.quality.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from benchmarks.quality.robustness import model_shares
from benchmarks.quality.stability import FPS, Observation, count_changes, sequence_frames, temporal_figures, usable_rows
from benchmarks.results.results import read_result
from edge_emotion.errors import ConfigError


def observations(shown: str, predicted: str) -> list[Observation]:
    """Observations from one letter per second; '.' is no person, 'u' is unknown."""
    names = {".": None, "u": "unknown"}
    return [Observation(float(i), a, names.get(b, b)) for i, (a, b) in enumerate(zip(shown, predicted, strict=True))]


def test_a_change_that_follows_the_truth_is_no_flicker() -> None:
    counted = count_changes(observations("aaaabbbbb", ".aaaaabbb"))
    assert (counted.flicker, counted.false_changes, counted.settled) == (0, 0, (2.0,))
    assert (counted.right, counted.frames, counted.seconds) == (6, 9, 8.0)


def test_wrong_emotions_are_false_changes_and_unknown_only_flickers() -> None:
    """c is false, the change back to a is flicker, unknown is flicker; b is needed."""
    counted = count_changes(observations("aaaaaabbbb", "acaaauubbb"))
    assert (counted.flicker, counted.false_changes, counted.settled) == (3, 1, (1.0,))


def test_a_change_that_never_settles_is_counted_as_such() -> None:
    counted = count_changes(observations("aaabbbaaa", "aaaaaaaaa"))
    assert counted.settled == (None, 0.0)
    summary = temporal_figures([counted, count_changes(observations("aaabbb", "aaaaab"))])
    assert (summary["settled"]["hits"], summary["settled"]["n"]) == (2, 3)
    assert summary["settle_p50_s"] == 1.0
    assert summary["minutes"] == pytest.approx(13 / 60, abs=1e-3)
    assert summary["right_time"] == pytest.approx(10 / 15, abs=1e-5)


def test_a_face_that_is_lost_for_a_while_changes_nothing() -> None:
    assert count_changes(observations("aaaaaa", "aa..aa")).flicker == 0
    assert count_changes(observations("aaaaaa", "aa..bb")).false_changes == 1


def test_faces_of_unknown_classes_count_for_nothing_and_lost_ones_only_for_all() -> None:
    one = model_shares(np.array([0, -1, 1, 2]), np.array([0, 0, 0, -1]))
    assert (one["accuracy"]["hits"], one["accuracy"]["n"]) == (1, 2)
    assert (one["right"]["hits"], one["right"]["n"]) == (1, 3)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_severity_is_worse_than_the_one_before_and_follows_from_the_seed(name: str, few_real_faces: Any) -> None:
    face = few_real_faces["train"].images[20]
    pictures = [corrupt(face, name, severity, np.random.default_rng(5)) for severity in (0, *SEVERITIES)]
    again = corrupt(face, name, 3, np.random.default_rng(5))
    assert (again.image == pictures[3].image).all() and again.square == pictures[3].square
    clean = pictures[0].image.astype(int)
    distance = [np.abs(one.image - clean).mean() for one in pictures]
    assert distance[0] == 0 and min(distance[1:]) > 0
    values = CORRUPTIONS[name].values
    assert len(values) == len(SEVERITIES) and sorted(values) in (list(values), list(values)[::-1])
    if name not in ("roll", "scale"):  # these move the whole picture at once
        assert distance == sorted(distance)
    assert all(one.image.shape == (480, 640, 3) and one.image.dtype == np.uint8 for one in pictures)


def test_a_sequence_shows_several_faces_of_one_emotion_then_another(few_real_faces: Any) -> None:
    faces = few_real_faces["train"]
    rows = usable_rows(faces, few_real_faces.classes, ("happiness", "anger", "sadness"))
    frames = list(sequence_frames(faces, rows, np.random.default_rng(1)))
    shown = [name for _, name in frames]
    assert set(shown) <= {"happiness", "anger", "sadness"}
    starts = [i for i in range(1, len(shown)) if shown[i] != shown[i - 1]]
    assert starts == [6 * FPS, 12 * FPS, 18 * FPS]
    assert frames[1][0].timestamp == pytest.approx(1 / FPS)
    assert (frames[0][0].image != frames[1][0].image).any()
    with pytest.raises(ConfigError, match="take more --faces"):
        usable_rows(faces.take(np.arange(4)), few_real_faces.classes, few_real_faces.classes)


def test_robustness_runs_on_real_faces(fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    file, out = tmp_path / "r.json", tmp_path / "out"
    options = ["--data", str(fer_folder), "--split", "validation", "--faces", "20", "--model", "tiny"]
    options += ["--corruption", "blur", "--corruption", "roll", "--sequences", "1", "--detector", "blazeface_short"]
    assert main(["robustness", *options, "--json", str(file), "--out", str(out)]) == 0
    result = read_result(file)
    done: Any = result.details
    steps = {(step["corruption"], step["severity"]): step for step in done["steps"]}
    assert len(steps) == 1 + 2 * 5
    clean, worst = steps["clean", 0], steps["blur", 5]
    assert clean["detection"]["share"] > 0.6 and worst["detection"]["share"] < 0.4
    assert clean["models"]["tiny"]["accuracy"]["share"] > 0.6
    for step in steps.values():
        assert step["detection"]["n"] == 20
        assert step["models"]["tiny"]["accuracy"]["n"] == step["detection"]["hits"]
    shipped = done["temporal"]["tiny"]["shipped"]
    assert shipped["settled"]["n"] == 3 and 0 < shipped["right_time"] <= 1
    assert shipped["flicker_per_minute"] <= done["temporal"]["tiny"]["raw"]["flicker_per_minute"]
    worst_found = result.find(f"blur 5 ({worst['value']:g})", "found")
    assert worst_found is not None and worst_found.value == pytest.approx(100 * worst["detection"]["share"])
    steady = result.find("tiny, shipped", "flicker")
    assert steady is not None and (steady.value, steady.unit) == (shipped["flicker_per_minute"], "/min")
    assert result.settings["corruption"] == ["blur", "roll"]
    assert main(["show", str(file), "--plot", str(tmp_path / "again.png")]) == 0
    curves = (out / "robustness.png").read_bytes()
    assert curves.startswith(b"\x89PNG") and curves == (tmp_path / "again.png").read_bytes()
    assert "right if found" in capsys.readouterr().out


def test_an_unknown_corruption_is_named(fer_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["robustness", "--data", str(fer_folder), "--corruption", "fog"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown corruption 'fog': use blur, noise")

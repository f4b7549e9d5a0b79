"""Peers in JavaScript: what is handed to node and back, and packages of npm that the command installs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.peers import npm_worker
from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.peers.environments import modules_of, run_worker
from benchmarks.peers.npm_worker import read_json, write_raw
from benchmarks.results.results import read_result
from edge_emotion.errors import BackendUnavailable

KEPT = os.environ.get("PEER_ENVIRONMENTS", "")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed here")
needs_npm = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="no node and npm here")
needs_kept = pytest.mark.skipif(
    not KEPT, reason="PEER_ENVIRONMENTS does not name a folder to install 0.3 GB in, once: what face-api needs"
)

ECHO = """
require(%s).serve(async (option) => {
  if (option === 'fail') throw new Error('no such model\\nand more');
  if (option === 'wait') return new Promise(() => {});
  return {
    labels: ['happy', 'sad'],
    packages: ['@some/package'],
    crop: ({ data, height, width }) => Float32Array.of(data[(1 * width + 2) * 3], data[data.length - 1] / 3 + height),
    frame: async ({ data, width }) => (
      data[0] > 8 ? [] : [{ box: [data[2], data[3], 1.5, width], scores: [0.25, 0.75] }]),
  };
});
"""
"""Says of a crop its pixel in row 1, column 2, and a third of its last one plus its height."""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Two crops of 3 x 4 and two frames of 2 x 5 with numbers of their own, the second frame above 8."""
    file = tmp_path / "task0.npz"
    crops, frames = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.arange(20, dtype=np.uint8).reshape(2, 2, 5)
    np.savez(file, crops=crops, frames=frames, video=np.zeros((3, 2, 5, 3), np.uint8), calls=3, judge=True)
    return file


@pytest.fixture
def echo(tmp_path: Path) -> list[str]:
    """Modules and script of a peer that says which pixels it was given."""
    package = tmp_path / "node_modules" / "@some" / "package" / "package.json"
    package.parent.mkdir(parents=True)
    package.write_text('{"version": "1.2.3", "exports": {}}')
    script = tmp_path / "echo.cjs"
    script.write_text(ECHO % json.dumps(str(Path(npm_worker.__file__).with_name("worker.cjs"))))
    return [str(tmp_path / "node_modules"), str(script)]


def test_pictures_are_handed_over_as_bytes_with_their_shape(task: Path) -> None:
    folder = write_raw(task)
    assert json.loads((folder / "task.json").read_text()) == {
        "calls": 3, "judge": True, "crops": [2, 3, 4], "frames": [2, 2, 5], "video": [3, 2, 5, 3],
    }  # fmt: skip
    assert (folder / "crops.raw").read_bytes() == bytes(range(24))
    assert (folder / "frames.raw").read_bytes() == bytes(range(20))
    assert write_raw(task) == folder


def test_an_answer_without_faces_keeps_its_columns() -> None:
    answer = read_json(
        '{"labels": ["happy", "sad"], "versions": "{}", "boxes": [], "box_scores": [], "frame_ms": [1.5]}'
    )
    assert answer["boxes"].shape == (0, 5) and answer["box_scores"].shape == (0, 2)
    assert answer["labels"].tolist() == ["happy", "sad"] and answer["frame_ms"].tolist() == [1.5]
    assert json.loads(str(answer["versions"])) == {}


@needs_node
def test_node_sees_the_pixels_and_its_numbers_come_back(task: Path, echo: list[str], tmp_path: Path) -> None:
    run_worker(Path(sys.executable), "npm_worker", task, tmp_path / "answer", echo)
    answer = read_json((tmp_path / "answer").read_text())
    expected = np.array([[6, 11 / 3 + 3], [18, 23 / 3 + 3]], np.float32)
    np.testing.assert_array_equal(answer["scores"].astype(np.float32), expected)
    assert answer["boxes"].tolist() == [[0, 0, 1, 1.5, 5]]
    assert answer["box_scores"].tolist() == [[0.25, 0.75]]
    assert answer["crop_ms"].shape == answer["frame_ms"].shape == answer["video_ms"].shape == (3,)
    assert answer["crop_ms"].min() > 0
    versions = json.loads(str(answer["versions"]))
    assert versions["@some/package"] == "1.2.3" and versions["node"][0].isdigit()


@needs_node
def test_node_sees_colours_as_red_green_blue(echo: list[str], tmp_path: Path) -> None:
    file = tmp_path / "task0.npz"
    crops, frames = np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3), np.zeros((1, 2, 5, 3), np.uint8)
    frames[0, 0, 0], frames[0, 0, 1, 2] = (1, 2, 3), 9
    np.savez(file, crops=crops, frames=frames, video=frames, calls=1, judge=True)
    run_worker(Path(sys.executable), "npm_worker", file, tmp_path / "answer", echo)
    answer = read_json((tmp_path / "answer").read_text())
    red, last_blue = crops[:, 1, 2, 2], crops[:, -1, -1, 0]
    np.testing.assert_allclose(answer["scores"], np.stack([red, last_blue / 3 + 3], axis=1), rtol=1e-6)
    assert answer["boxes"].tolist() == [[0, 1, 9, 1.5, 5]]


@needs_node
def test_a_script_that_fails_or_never_answers_says_so(task: Path, echo: list[str], tmp_path: Path) -> None:
    (tmp_path / "answer").write_text("{}")  # of another peer
    for option, why in (("fail", r"npm_worker failed \(1\): no such model$"), ("wait", "ended without an answer")):
        with pytest.raises(BackendUnavailable, match=why):
            run_worker(Path(sys.executable), "npm_worker", task, tmp_path / "answer", [*echo, option])


def test_without_node_the_peer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="node is not installed here"):
        modules_of(PEERS["human"], tmp_path / "cache")


@needs_npm
def test_packages_that_cannot_be_had_say_why_and_are_not_taken_for_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    peer = Peer("npm_worker", ("@edge-emotion/no-such-package@1.0.0",), "")
    with pytest.raises(BackendUnavailable, match=r"npm failed .*127\.0\.0\.1:9"):
        modules_of(peer, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*/.made"))


def measured(fer: Path, environments: Path, file: Path, *peers: str) -> Any:
    """The result of few frames and faces through these peers."""
    options = ["--data", str(fer), "--split", "validation", "--faces", "30", "--frames", "4", "--calls", "2"]
    options += ["--rounds", "1", "--model", "tiny", "--detector", "blazeface_short", "--json", str(file)]
    chosen = [part for name in peers for part in ("--peer", name)]
    assert main(["peers", *options, *chosen, "--environments", str(environments)]) == 0
    return read_result(file).details


@needs_npm
def test_human_is_installed_and_measured(fer_folder: Path, tmp_path: Path) -> None:
    done = measured(fer_folder, Path(KEPT or tmp_path / "environments"), tmp_path / "r.json", "human")
    human = done["peers"]["human"]
    assert human["versions"]["@vladmandic/human"] == "3.3.6" and "node" in human["versions"]
    assert human["crops"]["accuracy"] > 0.4, "it knows its classes by their names"
    assert human["frames"]["found"]["hits"] >= 2
    assert {row["of"] for row in done["ratios"]} == {"crop_ms", "frame_ms", "video_ms"}


@needs_npm
@needs_kept
def test_face_api_is_installed_and_measured_with_both_detectors(fer_folder: Path, tmp_path: Path) -> None:
    done = measured(fer_folder, Path(KEPT), tmp_path / "r.json", "face-api", "face-api-tiny")
    both, tiny = done["peers"]["face-api"], done["peers"]["face-api-tiny"]
    assert both["versions"]["@vladmandic/face-api"] == "1.7.15"
    assert both["crops"]["accuracy"] > 0.4, "it knows its classes by their names"
    assert "crops" not in tiny and "crop_ms" not in tiny
    assert both["frames"]["found"]["hits"] >= 2 and tiny["frames"]["found"]["hits"] >= 1

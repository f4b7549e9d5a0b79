"""The benchmarks run and say what they must; how fast this machine is asserts nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.machine import describe_machine


@pytest.fixture(autouse=True)
def _give_the_cores_back() -> Iterator[None]:
    """The benchmark pins its process to one core."""
    cores, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    yield
    os.sched_setaffinity(0, cores)
    cv2.setNumThreads(threads)


def test_pipeline_reports_every_stage_with_machine_and_n(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["pipeline", "--seconds", "0.1", "--detector", "blazeface_short", "--json", str(tmp_path / "r.json")]) == 0
    )
    result = json.loads((tmp_path / "r.json").read_text())
    assert set(result["ms"]) == {"decode", "detect", "track", "classify", "decide", "total"}
    for quantiles in result["ms"].values():
        assert 0 <= quantiles["p50"] <= quantiles["p90"] <= quantiles["p99"]
    assert result["frames"] >= 1
    assert result["fps"] > 0
    assert result["machine"]["packages"]["numpy"] == np.__version__
    text = capsys.readouterr().out
    assert f"n = {result['frames']} frames" in text
    assert "frames per second" in text


def test_a_clip_without_faces_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "empty.mp4"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"mp4v"), 15, (640, 480))
    for _ in range(5):
        writer.write(np.zeros((480, 640, 3), np.uint8))
    writer.release()
    for name in (str(clip), str(tmp_path / "nowhere.mp4")):
        assert main(["pipeline", "--clip", name]) == 3
        assert capsys.readouterr().err.endswith(f"error: {name} has no frame with exactly one face\n")


def test_the_machine_is_described_in_plain_values() -> None:
    machine = describe_machine()
    assert machine["cores"] == os.cpu_count()
    assert json.loads(json.dumps(machine)) == machine

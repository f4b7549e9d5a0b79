"""Figures and texts of ``python -m benchmarks pipeline``; no test depends on the speed of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.broker import Broker, needs_mosquitto

from benchmarks.cli import main
from benchmarks.harness.conditions import Conditions
from benchmarks.harness.drift import BLOCKS, Drift, drift
from benchmarks.pipeline_speed import pipeline, scenes
from benchmarks.pipeline_speed.plan import Plan
from benchmarks.pipeline_speed.runs import Run, run_measurements
from benchmarks.pipeline_speed.single_core import MAX_FPS, STAGES, RecordingBackend, SteppedSource, run_from_stage_times
from benchmarks.pipeline_speed.whole_daemon import measure_cameras, run_from_stats
from benchmarks.results.comparison import compare_results
from benchmarks.results.report import result_text
from benchmarks.results.results import Result, read_result
from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.cli.demo import CLIP
from edge_emotion.daemon.camera_stats import STAGES as STATS_STAGES
from edge_emotion.errors import EdgeEmotionError, SourceEnded
from edge_emotion.factory.models import make_detector

TINY = ["--rounds", "1", "--seconds", "0.2", "--settle", "0.05", "--detector", "blazeface_short", "--model", "tiny"]
NOTHING_SEEN = Conditions(None, None, {})


@pytest.fixture
def _short_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "FRAMES", 12)


def run(**changes: Any) -> Run:
    return Run(**{"n": 10, "began": 100.0, "ended": 102.0} | changes)


def quantiles(result: Result, subject: str) -> list[float]:
    found = [result.find(subject, name) for name in ("p50", "p90", "p99", "p99.9")]
    return [one.value for one in found if one]


@needs_mosquitto
@pytest.mark.usefixtures("_short_scenes")
def test_every_part_of_the_path_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--faces", "1", "3", "--cameras", "2", "--source", str(CLIP), *TINY]
    assert main(["pipeline", *options, "--json", str(tmp_path / "r.json")]) == 0
    result = read_result(tmp_path / "r.json")
    stages = {f"{faces}: {stage}" for faces in ("1 face", "3 faces") for stage in STAGES}
    stages |= {"reading: capture", "reading: decode", "publishing: hand-over", "publishing: PUBACK"}
    stages |= {"2 cameras, 30 fps: age", "own camera: age", "own camera: detect", "own camera: classify"}
    assert stages <= set(result.subjects)
    for stage in stages:
        values = quantiles(result, stage)
        assert values and values[0] >= 0 and values == sorted(values), stage
    for faces in ("1 face", "3 faces"):
        overhead = result.find(faces, "overhead")
        assert overhead and overhead.value > 0 and overhead.n >= 6
    for daemon in ("2 cameras, full speed", "2 cameras, 30 fps", "own camera"):
        for metric in ("fps", "CPU", "CPU/frame", "peak RSS"):
            one = result.find(daemon, metric)
            assert one and one.value > 0, (daemon, metric)
    assert result.find("2 cameras, 30 fps", "dropped") and not result.find("2 cameras, full speed", "dropped")
    assert {name.partition("/")[0] for name in result.artefacts} == {"blazeface_short", "tiny"}
    assert set(result.details["steady"]) == {one for one in result.subjects if ": " not in one} | {
        "reading",
        "publishing",
    }  # type: ignore[arg-type]
    printed = capsys.readouterr()
    assert "round 1 of 1: 3 faces: " in printed.err
    assert "thermally steady: " in printed.out
    assert "3 faces: blazeface_short finds as many in 12 of 12 frames" in printed.out


@pytest.mark.usefixtures("_short_scenes")
def test_without_a_broker_and_for_too_small_faces_it_is_said_what_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "find_mosquitto", lambda: None)
    assert main(["pipeline", "--faces", "1", "8", "--cameras", "1", *TINY, "--json", str(tmp_path / "r.json")]) == 0
    result = read_result(tmp_path / "r.json")
    assert result.find("1 face", "overhead") and not result.find("8 faces", "overhead")
    assert "blazeface_short finds as many in none of 12 frames" in result.absent["8 faces"]
    for name in ("publishing", "1 camera, full speed", "1 camera, 30 fps"):
        assert "apt install mosquitto" in result.absent[name]


@pytest.mark.parametrize(
    ("options", "code", "fault"),
    [
        (["--faces", "9"], 2, "--faces 9: the daemon looks at 8 at most"),
        (["--faces", "--cameras"], 2, "nothing to measure: give --faces, --cameras or --source"),
        (["--detector", "nowhere"], 2, "no model 'nowhere'"),
        (["--model", "nowhere"], 2, "no model 'nowhere'"),
        (["--model", "blazeface_short"], 4, "is no emotion classifier"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(
    options: list[str], code: int, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pipeline", *options]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("caution")]
    assert len(errors) == 1 and fault in errors[0]


def test_a_clip_without_faces_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "empty.mp4"
    scenes.write_video([np.zeros((480, 640, 3), np.uint8)] * 5, clip, 15)
    for name in (str(clip), str(tmp_path / "nowhere.mp4")):
        assert main(["pipeline", "--clip", name]) == 3
        assert capsys.readouterr().err.endswith(f"error: {name} has no frame with exactly one face\n")


@pytest.mark.usefixtures("_short_scenes")
def test_a_scene_shows_as_many_faces_as_it_says(tmp_path: Path) -> None:
    absent: dict[str, str] = {}
    detector = make_detector("blazeface_back")
    one, three = scenes.make_scenes(CLIP, (1, 3), "blazeface_back", tmp_path, absent)
    assert not absent
    for scene in (one, three):
        images = list(scenes.read_video(scene.path))
        assert len(images) == scene.frames == 12 and images[0].shape == (scenes.HEIGHT, scenes.WIDTH, 3)
        assert len(detector.detect(images[0])) == scene.faces


def test_faces_are_followed_unless_everything_is_to_be_looked_at() -> None:
    usual, everywhere = Plan().hardest, Plan(everywhere=True).hardest
    assert "refresh_interval" not in usual["detector"]
    assert everywhere == usual | {"detector": usual["detector"] | {"refresh_interval": 0}}


# Arithmetic


def test_overhead_is_the_median_of_each_frames_total_over_its_models_alone() -> None:
    rows = np.tile([0.004, 0.0, 0.001, 0.002, 0.0, 0.001, 0.008, 0.005], (9, 1))
    rows[:4, -1] = 0.004  # a fast model makes a large overhead; the median is that of the other five frames
    found = run_from_stage_times(rows, began=0.0, ended=1.0)
    assert found.figures["overhead"] == pytest.approx(1.6)
    assert found.figures["fps"] == pytest.approx(125.0)
    assert found.stages["detect"] == {"p50": 4.0} and found.stages["total"]["p50"] == 8.0
    assert list(found.stages) == list(STAGES)


def test_models_that_cannot_be_called_alone_leave_no_overhead() -> None:
    rows = np.full((20, len(STAGES)), 0.001)
    rows[:, -1] = np.nan
    found = run_from_stage_times(rows, began=0.0, ended=1.0)
    assert "overhead" not in found.figures and "models alone" not in found.stages
    assert found.drift == Drift(1.0, True)
    mute = RecordingBackend(ConstantBackend((2, 2, 1), [np.zeros(3, np.float32)]))
    mute.run(np.zeros((1, 2, 2, 1), np.float32))
    assert np.isnan(mute.alone())


def test_the_model_alone_is_called_once_for_each_input() -> None:
    class Bare(ConstantBackend):
        def bare_call(self, batch: Any) -> Any:
            return lambda: called.append(batch[0, 0, 0, 0])

    called: list[float] = []
    backend = RecordingBackend(Bare((1, 1, 1), [np.zeros(3, np.float32)]))
    backend.run(np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1))
    assert backend.alone() >= 0 and called == [0, 1, 2]


def test_a_feed_gives_the_next_frame_only_when_the_last_one_is_done_and_ends_after_each_was_counted() -> None:
    source = SteppedSource([np.zeros((2, 2, 3), np.uint8)] * 3, seconds=1e-6, settle=1e-6)
    source.open()
    times = [source.read().timestamp]
    assert not source.permits.acquire(blocking=False), "the last one is not done"
    counted = 0
    with pytest.raises(SourceEnded):
        while True:
            counted += source.counting
            source.next()
            times.append(source.read().timestamp)
    assert counted == 4, "forwards and backwards"
    assert np.diff(times) == pytest.approx(1 / MAX_FPS)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1.0] * (3 * BLOCKS - 1), None),
        ([1.0] * (3 * BLOCKS), Drift(1.0, True)),
        ([1.0, 1.2] * 60, Drift(1.0, True)),
        ([1.0] * 50 + [9.0] * 50 + [1.3] * 50, Drift(1.3, False)),
        ([1.0] * 50 + [1.0] * 50 + [0.7] * 50, Drift(0.7, True)),  # it became faster
        ([1.0] * 50 + [1.0] * 50 + [1.01] * 50, Drift(1.01, True)),  # irrelevant
        ([1.0] * 40 + [1.5] * 10 + [1.0] * 50 + [1.3] * 50, Drift(1.3, True)),  # it was as slow at the beginning
    ],
)
def test_a_run_is_steady_unless_its_end_is_slower_than_its_beginning(times: list[float], expected: Any) -> None:
    found = drift(times)
    assert found == expected if expected is None else found == pytest.approx(expected)


def test_one_unsteady_run_makes_a_thing_unsteady() -> None:
    steady, slower = run(drift=Drift(1.01, True)), run(drift=Drift(1.25, False))
    assert pipeline.drift_verdict([steady, steady]) == "yes"
    assert pipeline.drift_verdict([steady, slower]) == "no, the last third took 1.25 times as long as the first"
    assert pipeline.drift_verdict([steady, run()]) == "too short"


def test_the_runs_of_a_thing_are_the_runs_of_its_figures() -> None:
    runs = [
        run(
            figures={"fps": 5.0, "overhead": 1.2},
            stages={"total": {"p50": 1.0, "p90": 2.0}},
            n=7,
            drift=Drift(1.0, True),
        ),
        run(figures={"fps": 4.0}, stages={"total": {"p50": 3.0}}),
    ]
    conditions = [Conditions(50.0, (), {"rail": 4.0}), Conditions(60.0, (), {"rail": 4.0})]
    found = {(one.subject, one.metric): one.runs for one in run_measurements("1 face", runs, conditions)}
    assert found == {
        ("1 face", "fps"): (5.0, 4.0),
        ("1 face", "hottest"): (50.0, 60.0),
        ("1 face: total", "p50"): (1.0, 3.0),
    }


def test_energy_is_that_of_the_daemons_frames() -> None:
    daemon = run(figures={"CPU": 100.0}, n=40, began=10.0, ended=12.0)
    found = list(run_measurements("1 camera", [daemon], [Conditions(None, None, {"VDD_IN": 8.0})]))
    assert {(one.metric, one.unit): one.value for one in found[1:]} == {
        ("power VDD_IN", "W"): 4.0,
        ("energy/frame VDD_IN", "mJ"): 200.0,
    }
    assert [one.metric for one in run_measurements("1 face", [run(figures={"fps": 1.0})], [NOTHING_SEEN])] == ["fps"]


def stats(fps: float, dropped: float, age: float, cpu: float = 50.0, interval: float = 2.0) -> dict[str, Any]:
    quantiles = {"p50": age, "p90": 2 * age, "p99": 3 * age}
    camera = {
        "processed_fps": fps,
        "capture_fps": fps + dropped,
        "dropped_fps": dropped,
        "stages_ms": dict.fromkeys(STATS_STAGES, quantiles) if fps else {},
    }
    return {"interval": interval, "machine": {"cpu_percent": cpu}, "cameras": {"a": camera, "b": camera}}


def test_what_the_daemon_says_of_itself_becomes_figures() -> None:
    reports = [stats(10.0, 30.0, 5.0), stats(20.0, 20.0, 7.0, cpu=100.0, interval=1.0), stats(20.0, 20.0, 9.0)]
    found = run_from_stats(reports, ended=50.0, rss=123.0, waiting=False)
    assert found.n == 2 * 80
    assert found.figures == pytest.approx(
        {"fps": 16.0, "dropped": 60.0, "CPU": 60.0, "CPU/frame": 18.75, "peak RSS": 123.0}
    )
    assert list(found.stages) == ["detect", "track", "classify", "decide", "age"]
    assert all(one == {"p50": 7.0, "p90": 14.0} for one in found.stages.values())
    assert (found.began, found.ended, found.drift) == (45.0, 50.0, None)


def test_a_recording_that_waits_has_no_age_and_is_steady_by_its_rate() -> None:
    slower = [stats(20.0, 0.0, 5.0)] * 10 + [stats(10.0, 0.0, 5.0)] * 10
    found = run_from_stats(slower, ended=50.0, rss=1.0, waiting=True)
    assert "dropped" not in found.figures and not found.stages
    assert found.drift == Drift(2.0, False)
    assert run_from_stats(slower, ended=50.0, rss=1.0, waiting=False).drift == Drift(1.0, True)
    with pytest.raises(EdgeEmotionError, match="no frame"):
        run_from_stats([stats(0.0, 0.0, 0.0)], ended=50.0, rss=1.0, waiting=True)


@needs_mosquitto
def test_a_daemon_that_ends_is_said_with_its_last_words(tmp_path: Path) -> None:
    broker = Broker(tmp_path).start()
    try:
        with pytest.raises(EdgeEmotionError, match=r"the daemon has ended with 3: .*no video file /nowhere\.mp4"):
            measure_cameras({"a": {"source": "/nowhere.mp4"}}, {}, broker.port, seconds=1.0, settle=0.1)
    finally:
        broker.stop()


def test_videos_come_back_as_they_were_written(tmp_path: Path) -> None:
    images = [np.full((48, 64, 3), grey, np.uint8) for grey in (0, 128, 255)]
    scenes.write_video(images, tmp_path / "v.mp4", 10)
    back = list(scenes.read_video(tmp_path / "v.mp4"))
    assert [int(np.median(image)) for image in back] == pytest.approx([0, 128, 255], abs=6)


def test_figures_of_stages_stand_in_the_table_and_in_comparisons() -> None:
    def result(overhead: float) -> Result:
        runs = [run(figures={"overhead": overhead}, stages={"total": {"p50": overhead}}, n=9)] * 4
        return Result(
            benchmark="pipeline",
            machine={"machine": "board"},
            measurements=list(run_measurements("1 face", runs, [NOTHING_SEEN] * 4)),
            notes=("thermally steady: yes: 1 face",),
        )

    text = result_text(result(1.25))
    assert "overhead x" in text and "thermally steady: yes" in text
    assert "1 face: n = 4 x 9" in text and "1 face: total: n" not in text, "a stage is counted with its whole"
    changes = compare_results(result(1.25), result(1.5)).changes
    assert [(change.before.subject, change.verdict) for change in changes] == [
        ("1 face", "worse"),
        ("1 face: total", "worse"),
    ]

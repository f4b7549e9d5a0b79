"""``classify`` on recordings: one row each, with the events that ``run`` makes of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.paths import ROOT

from edge_emotion.cli.main import main
from edge_emotion.cli.recordings import RecordingReader
from edge_emotion.datatypes import Image
from edge_emotion.factory.models import make_classifier

CLIP = ROOT / "edge_emotion" / "demo.mp4"
OPTIONS = ["--model", "tiny"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_clip(name: str, *, frames: int, fps: float) -> None:
    """A recording of grey walls."""
    writer = cv2.VideoWriter(name, cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 60 + number, np.uint8))
    writer.release()


def make_picture(name: str) -> None:
    Path(name).write_bytes(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes())


def rows(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]


def events_of_run(folder: Path) -> list[dict[str, Any]]:
    changes = ["cameras.camera.realtime=false", "classifier.model=tiny", f"state_dir={folder / 'state'}"]
    words = [word for change in changes for word in ("--set", change)]
    assert main(["run", "--source", str(CLIP), "--jsonl", str(folder / "events"), *words]) == 0
    return rows(str(folder / "events"))


def test_a_recording_in_a_list_becomes_one_row_with_the_events_of_run(here: Path, astronaut: Image) -> None:
    Path("portrait.png").write_bytes(cv2.imencode(".png", astronaut)[1].tobytes())
    Path("list").write_text(f"portrait.png\n{CLIP}\n", encoding="utf-8")
    assert main(["classify", "--from", "list", "--output", "rows", "--range", "near", *OPTIONS]) == 0
    picture, clip = rows("rows")
    assert picture["image"] == "portrait.png" and len(picture["faces"]) == 1
    assert set(clip) == {"image", "model", "recording", "events"}
    assert (clip["image"], clip["model"]) == (str(CLIP), picture["model"])
    assert clip["recording"] == {"seconds": 10.133, "frames": 153, "fps": 15.0}
    start, end = clip["events"]
    assert (start["type"], start["track"], end["type"], end["track"]) == ("start", 1, "end", 1)
    assert 0 < start["at"] < end["at"] < 10.133
    for ours, theirs in zip(clip["events"], events_of_run(here), strict=True):
        assert ours["duration"] == theirs["track"]["duration"]
        assert {name: theirs[name] for name in set(ours) - {"at", "track", "duration"}} == {
            name: ours[name] for name in set(ours) - {"at", "track", "duration"}
        }
        assert not {"node", "camera", "seq", "id", "ts"} & set(ours)


def test_shards_resume_and_a_cut_row_hold_for_recordings_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["0", "1.png", "2.mkv"]  # the name of a recording may be a number, which run takes for a camera
    make_clip("clip.avi", frames=9, fps=20)
    Path("clip.avi").rename("0")
    make_picture("1.png")
    make_clip("2.mkv", frames=1, fps=25)
    Path("list").write_text("\n".join(names), encoding="utf-8")
    assert main(["classify", "--from", "list", "--output", "all", *OPTIONS]) == 0
    whole = Path("all").read_bytes()
    assert [row.get("recording") for row in rows("all")] == [
        {"seconds": 0.4, "frames": 9, "fps": 20.0},
        None,
        {"seconds": 0.0, "frames": 1, "fps": None},
    ]
    for shard in (1, 2):
        assert main(["classify", "--from", "list", "--shard", f"{shard}/2", "--output", f"part{shard}", *OPTIONS]) == 0
    assert sorted(map(str, [*rows("part1"), *rows("part2")])) == sorted(map(str, rows("all")))
    capsys.readouterr()
    for kept in (40, whole.index(b"\n") - 1, len(whole) - 1):  # killed in the first row, at its end, in the last one
        Path("all").write_bytes(whole[:kept])
        assert main(["classify", "--from", "list", "--output", "all", "--resume", *OPTIONS]) == 0
        assert Path("all").read_bytes() == whole
    assert "all: 2 of 3 files are done" in capsys.readouterr().err


def test_recordings_that_cannot_be_read_are_a_line_each_and_the_others_are_done(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cut.mp4").write_bytes(CLIP.read_bytes()[:20_000])
    make_clip("wall.avi", frames=3, fps=25)
    Path("cut.jpg").write_bytes(Path("cut.mp4").read_bytes())
    assert main(["classify", *OPTIONS, "cut.mp4", "cut.jpg", "wall.avi"]) == 3
    out, err = capsys.readouterr()
    assert out == "wall.avi: recording of 0.1 s, no events\n"
    assert err.splitlines() == [
        f"error: cannot open video {name}: is it a complete video? (check with ffprobe)"
        for name in (here / "cut.mp4", "cut.jpg")
    ]
    for option in (["--cropped"], ["--annotate", "drawn"]):
        assert main(["classify", *OPTIONS, *option, "wall.avi"]) == 3
        line = f"error: wall.avi is a recording, and {option[0]} is for pictures: leave one of them out\n"
        assert capsys.readouterr().err == line


def test_the_name_of_a_recording_does_not_count(here: Path) -> None:
    make_clip("wall.avi", frames=3, fps=25)
    names = ["a !.avi", "odd\udcff.avi", "wall.jpg", " wall"]  # a pipeline, no text, a picture, a space that is removed
    for name in names:
        Path(name).write_bytes(Path("wall.avi").read_bytes())
    assert main(["classify", *OPTIONS, "--output", "rows", *names]) == 0
    found = {"seconds": 0.08, "frames": 3, "fps": 25.0}
    assert [(row["image"], row["recording"]) for row in rows("rows")] == [(name, found) for name in names]


def test_ctrl_c_in_a_recording_leaves_no_thread_and_its_progress_is_seconds(here: Path) -> None:
    reader = RecordingReader(
        make_classifier("tiny"), detector="blazeface_short", reach=None, threshold=1, classes=None, operating_point=None
    )
    make_clip("wall.avi", frames=9, fps=10)
    before, seconds = set(threading.enumerate()), list[float]()

    def interrupt(done: float) -> None:
        seconds.append(done)
        if done >= 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader.read(Path("wall.avi"), interrupt)
    assert seconds == [0.0, 0.1, 0.2]
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("capture")]

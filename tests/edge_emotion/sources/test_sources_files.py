"""Sources that end: memory, picture files, video files. What all sources share is in test_source_contract.py."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.source_fakes import (
    carphone,
    fail_in_background,
    fake_video_capture,
    picture,
    read_until_error,
)

from edge_emotion.datatypes import Frame
from edge_emotion.errors import SourceEnded, SourceError
from edge_emotion.sources.images import ImagesSource
from edge_emotion.sources.memory import MemorySource
from edge_emotion.sources.opencv import OpenCvSource

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("nothing_is_left_behind")]


# Memory


def test_memory_frames_are_spaced_by_the_frame_rate() -> None:
    source = MemorySource([picture(), picture(), picture()], fps=4, start=10.0)
    source.open()
    assert [source.read().timestamp for _ in range(3)] == [10.0, 10.25, 10.5]


def test_memory_starts_at_the_present_time() -> None:
    before = time.monotonic()
    source = MemorySource([picture()])
    source.open()
    assert before <= source.read().timestamp <= time.monotonic()


def test_memory_does_not_wait() -> None:
    source = MemorySource([picture(), picture()], fps=0.001)
    source.open()
    assert source.read().timestamp + 1000 == pytest.approx(source.read().timestamp)


def test_memory_gives_whole_frames_as_they_are() -> None:
    when = datetime(2026, 1, 1, tzinfo=timezone.utc)
    frames = [Frame(picture(), 5.0, when, 7), Frame(picture(), 9.5, when, 8)]
    source = MemorySource(frames)
    source.open()
    assert source.read() is frames[0]
    assert source.read() is frames[1]


def test_memory_goes_on_in_time_when_it_loops() -> None:
    source = MemorySource([picture(1), picture(2)], fps=2, start=0.0, loop=True)
    source.open()
    frames = [source.read() for _ in range(5)]
    assert [frame.timestamp for frame in frames] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3, 4]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 1, 2, 1]
    assert frames[4].captured_at - frames[0].captured_at == timedelta(seconds=2)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_memory_refuses_what_is_no_picture(image: Any) -> None:
    with pytest.raises(ValueError, match="H x W x 3 uint8"):
        MemorySource([image])


def test_memory_needs_a_picture() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MemorySource([])


# Picture files


def write(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), picture(value))
    return path


def blues(source: ImagesSource) -> list[int]:
    source.open()
    return [int(frame.image[0, 0, 0]) for frame in read_until_error(source)[0]]


@pytest.mark.parametrize("ending", [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".PNG"])
def test_picture_formats(tmp_path: Path, ending: str) -> None:
    write(tmp_path / f"a{ending}")
    source = ImagesSource(tmp_path)
    source.open()
    assert source.read().image.shape == (48, 64, 3)


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        write(tmp_path / f"shot{number}.png", number)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._shot1.png").write_text("what macOS leaves on a stick")
    assert blues(ImagesSource(str(tmp_path), realtime=False)) == [1, 9, 10]


def test_a_pattern_reaches_into_subfolders(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.png", 1)
    write(tmp_path / "b" / "2.png", 2)
    write(tmp_path / "b" / "3.bmp", 3)
    assert blues(ImagesSource(str(tmp_path / "**" / "*.png"), realtime=False)) == [1, 2]
    assert blues(ImagesSource(f"{tmp_path}/b/[0-9].*", realtime=False)) == [2, 3]


def test_a_relative_pattern_and_a_single_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a[1].png", 1)
    monkeypatch.chdir(tmp_path)
    assert blues(ImagesSource("*.png", realtime=False)) == [1]
    assert blues(ImagesSource("a[1].png", realtime=False)) == [1]


def test_a_list_keeps_its_order(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{number}.png", number) for number in (3, 1, 2)]
    assert blues(ImagesSource(files, realtime=False)) == [3, 1, 2]


@pytest.mark.parametrize("name", ["", "nothing/*.png", "nothing.png", "nothing"])
def test_no_images_is_an_error_at_open(tmp_path: Path, name: str) -> None:
    source = ImagesSource(tmp_path / name)
    with pytest.raises(SourceError, match=r"no images in .*\.jpg"):
        source.open()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"not a picture", "not a readable image"), (b"\x89PNG\r\n\x1a\n", "not a readable image")],
)
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    write(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(content)
    source = ImagesSource(tmp_path, realtime=False)
    source.open()
    source.read()
    with pytest.raises(SourceError, match=rf"2\.png is {reason}"):
        source.read()


def test_a_missing_file_of_a_list_is_named(tmp_path: Path) -> None:
    source = ImagesSource([tmp_path / "gone.png"])
    source.open()
    with pytest.raises(SourceError, match=r"gone\.png: No such file"):
        source.read()


def test_grey_and_transparent_pictures_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.full((8, 8), 77, np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.full((8, 8, 4), (1, 2, 3, 255), np.uint8))
    source = ImagesSource(tmp_path, realtime=False)
    source.open()
    assert source.read().image[0, 0].tolist() == [77, 77, 77]
    assert source.read().image[0, 0].tolist() == [1, 2, 3]


def test_images_go_on_in_time_when_they_loop(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    source = ImagesSource(tmp_path, fps=0.5, loop=True, realtime=False)
    source.open()
    first, *_, last = (source.read() for _ in range(4))
    assert last.timestamp - first.timestamp == pytest.approx(6.0)
    assert last.captured_at - first.captured_at == timedelta(seconds=6)
    assert last.sequence == 3


def test_images_in_real_time_are_not_early(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    source = ImagesSource(tmp_path, fps=20, loop=True)
    source.open()
    for _ in range(4):
        assert source.read().timestamp <= time.monotonic()


def test_closing_ends_the_wait_for_the_next_image(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    source = ImagesSource(tmp_path, fps=0.001, loop=True)
    source.open()
    source.read()
    thread, errors = fail_in_background(source)
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert "open" in str(errors[0]) or "closed" in str(errors[0])


# Video files


def test_a_video_has_all_its_frames_and_their_times() -> None:
    source = OpenCvSource(str(carphone()), realtime=False)
    source.open()
    frames, error = read_until_error(source)
    assert isinstance(error, SourceEnded)
    assert len(frames) == 120
    steps = np.diff([frame.timestamp for frame in frames])
    assert steps == pytest.approx(np.full(119, 1001 / 30000), abs=1e-6)
    assert frames[-1].captured_at - frames[0].captured_at == pytest.approx(
        timedelta(seconds=119 * 1001 / 30000), abs=timedelta(microseconds=200)
    )


def test_the_first_frame_of_a_video_is_not_lost() -> None:
    source = OpenCvSource(str(carphone()), realtime=False)
    source.open()
    capture = cv2.VideoCapture(str(carphone()), cv2.CAP_FFMPEG)
    expected = [capture.read()[1] for _ in range(2)]
    capture.release()
    assert np.array_equal(source.read().image, expected[0])
    assert np.array_equal(source.read().image, expected[1])
    source.close()


def test_the_times_of_a_video_begin_at_its_open() -> None:
    source = OpenCvSource(str(carphone()), realtime=False)
    before = time.monotonic()
    source.open()
    after = time.monotonic()
    assert before <= source.read().timestamp <= after
    source.close()


def test_the_times_of_a_video_do_not_depend_on_the_reader() -> None:
    source = OpenCvSource(str(carphone()), realtime=False)
    source.open()
    first = source.read()
    time.sleep(0.2)
    assert source.read().timestamp - first.timestamp == pytest.approx(1001 / 30000, abs=1e-6)
    source.close()


def test_a_video_in_real_time_is_not_early() -> None:
    source = OpenCvSource(str(carphone()))
    source.open()
    for _ in range(10):
        assert source.read().timestamp <= time.monotonic()
    source.close()


def test_a_looping_video_goes_on_in_time() -> None:
    source = OpenCvSource(str(carphone()), realtime=False, loop=True)
    source.open()
    frames = [source.read() for _ in range(123)]
    source.close()
    assert [frame.sequence for frame in frames] == list(range(123))
    assert np.diff([frame.timestamp for frame in frames]) == pytest.approx(np.full(122, 1001 / 30000), abs=1e-6)
    assert np.array_equal(frames[120].image, frames[0].image)


def test_closing_ends_the_wait_for_the_next_frame_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "slow.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 0.02, (64, 48))
    for number in range(3):
        writer.write(picture(number))
    writer.release()
    source = OpenCvSource(str(path))
    source.open()
    thread, errors = fail_in_background(source)
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert "open" in str(errors[0]) or "closed" in str(errors[0])


def test_a_video_without_times_goes_by_its_frame_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    monkeypatch.setattr(captures, "get", lambda _, key: 10.0 if key == cv2.CAP_PROP_FPS else 0.0)
    source = OpenCvSource(str(carphone()), realtime=False)
    source.open()
    times = [source.read().timestamp for _ in range(4)]
    source.close()
    assert np.diff(times) == pytest.approx([0.1, 0.1, 0.1])


@pytest.mark.parametrize("jump", [3600.0, 6.0, -3600.0, 1e9])
def test_times_of_a_video_that_jump_are_a_cut(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch, lambda number: (number < 10, picture(number)))

    def position(capture: Any, key: int) -> float:
        seconds = capture.reads / 10 + (jump if capture.reads > 5 else 0)
        return 10.0 if key == cv2.CAP_PROP_FPS else 1000 * seconds

    monkeypatch.setattr(captures, "get", position)
    source = OpenCvSource(str(carphone()), realtime=False)
    source.open()
    stamps = [frame.timestamp for frame in read_until_error(source)[0]]
    assert np.diff(stamps) == pytest.approx(0.1)
    assert len(stamps) == 10


def test_a_slow_video_is_no_series_of_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch, lambda number: (number < 10, picture(number)))
    monkeypatch.setattr(
        captures, "get", lambda capture, key: 1 / 60 if key == cv2.CAP_PROP_FPS else 60_000.0 * capture.reads
    )
    source = OpenCvSource(str(carphone()), realtime=False)
    source.open()
    assert np.diff([frame.timestamp for frame in read_until_error(source)[0]]) == pytest.approx(60.0)


@pytest.mark.parametrize("name", ["12:30:05.avi", "2026-11-20 12:30:05.avi", "cam-1.12:30.avi", "file:1.avi"])
def test_a_relative_name_with_a_colon_is_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(carphone().read_bytes())
    monkeypatch.chdir(tmp_path)
    source = OpenCvSource(name, realtime=False)
    source.open()
    assert source.read().image.shape[2] == 3
    source.close()


def test_a_missing_video_is_named_before_opencv_complains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = OpenCvSource(str(tmp_path / "gone.mp4"))
    with pytest.raises(SourceError, match=r"no video file .*gone\.mp4"):
        source.open()
    assert capfd.readouterr().err == ""


def test_what_is_no_video_is_refused_at_open(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("no video")
    with pytest.raises(SourceError, match=r"cannot open video .*notes\.mp4"):
        OpenCvSource(str(path)).open()


def test_without_ffmpeg_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _: False)
    with pytest.raises(SourceError, match="opencv-python-headless"):
        OpenCvSource("rtsp://127.0.0.1/live").open()


@pytest.mark.parametrize("source", ["picamera2", "face.jpg"])
def test_opencv_refuses_what_other_adapters_are_for(source: str) -> None:
    with pytest.raises(ValueError, match="no device, stream, pipeline or video"):
        OpenCvSource(source)

"""Behaviour of each frame source; what all have in common is in test_source_contract.py."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from source_fakes import (
    DEVICE,
    FakePicamera2,
    assert_no_cv2_thread_is_left,
    carphone,
    fail_in_background,
    fake_picamera2,
    fake_video_capture,
    mjpeg_server,
    picture,
    read_until_error,
)

from edge_emotion.datatypes import Frame
from edge_emotion.errors import BackendUnavailable, SourceEnded, SourceError
from edge_emotion.sources.images import ImagesSource
from edge_emotion.sources.memory import MemorySource
from edge_emotion.sources.opencv import OpenCvSource
from edge_emotion.sources.picamera2 import Picamera2Source
from edge_emotion.sources.spec import classify_source, picamera2_index, redact

pytestmark = pytest.mark.filterwarnings("error")

PIPELINE = "videotestsrc ! videoconvert ! video/x-raw,format=BGR ! appsink"


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield
    assert_no_cv2_thread_is_left()


@pytest.fixture
def gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.20.3)\n")


# What a source setting means


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (0, "device"),
        ("0", "device"),
        ("12", "device"),
        ("/dev/video2", "device"),
        ("/dev/v4l/by-id/usb-046d_C270-video-index0", "device"),
        ("rtsp://camera.local/stream1", "stream"),
        ("rtsps://user:pass@10.0.0.7:322/1", "stream"),
        ("RTSP://camera.local/1", "stream"),
        ("http://10.0.0.7:8080/?action=stream", "stream"),
        ("https://camera.local/live.jpg", "stream"),
        ("udp://@:5000", "stream"),
        ("nvarguscamerasrc ! nvvidconv ! appsink", "pipeline"),
        ("rtspsrc location=rtsp://a/b !decodebin !appsink", "pipeline"),
        ("picamera2", "picamera2"),
        ("picamera2:1", "picamera2"),
        ("shots/*.png", "images"),
        ("shots/image_??.jpg", "images"),
        ("face.JPG", "images"),
        ("face.webp", "images"),
        ("clip.mp4", "video"),
        ("wow!.mp4", "video"),
        ("missing/clip.avi", "video"),
        ("picamera2:left", "video"),
        ("file:///clip.mp4", "video"),
        ("-1", "video"),
        ("", "video"),
    ],
)
def test_a_source_setting_has_one_meaning(source: int | str, kind: str) -> None:
    assert classify_source(source) == kind


def test_a_folder_is_images(tmp_path: Path) -> None:
    assert classify_source(str(tmp_path)) == "images"


def test_a_video_file_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "clip[1].mp4"
    assert classify_source(str(path)) == "images"
    path.touch()
    assert classify_source(str(path)) == "video"


def test_the_number_of_a_pi_camera_follows_the_colon() -> None:
    assert picamera2_index("picamera2") == 0
    assert picamera2_index("picamera2:3") == 3
    with pytest.raises(ValueError, match="picamera2:NUMBER"):
        picamera2_index("picamera2:left")


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (0, "0"),
        ("rtsp://admin:geheim@10.0.0.7:554/live", "rtsp://***@10.0.0.7:554/live"),
        ("rtsp://admin:ge@heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("rtsp://admin:ge/heim@10.0.0.7/live", "rtsp://***@10.0.0.7/live"),
        ("http://10.0.0.7/cgi?usr=me&pwd=geheim&channel=1", "http://10.0.0.7/cgi?usr=***&pwd=***&channel=1"),
        ("rtsp://a/user=me_password=ge_heim_channel=1.sdp", "rtsp://a/user=***_password=***_channel=1.sdp"),
        ("http://a/?access_token=geheim", "http://a/?access_token=***"),
        ("rtspsrc user-id=me user-pw='ge heim' ! appsink", "rtspsrc user-id=*** user-pw=*** ! appsink"),
        ("rtspsrc location=rtsp://a:geheim@b/c ! appsink", "rtspsrc location=rtsp://***@b/c ! appsink"),
        ("rtsp://camera.local/stream?channel=1", "rtsp://camera.local/stream?channel=1"),
        ("clip.mp4", "clip.mp4"),
    ],
)
def test_credentials_are_not_shown(source: int | str, shown: str) -> None:
    assert redact(source) == shown


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


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(content)
    source = ImagesSource(tmp_path, realtime=False)
    source.open()
    source.read()
    with pytest.raises(SourceError, match=r"2\.png is not a readable image"):
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


# Streams


def test_a_stream_is_stamped_when_its_frames_arrive() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url)
        source.open()
        source.read()
        for _ in range(3):
            before = time.monotonic()
            frame = source.read()
            assert before <= frame.timestamp <= time.monotonic()
            assert abs(datetime.now(timezone.utc) - frame.captured_at) < timedelta(seconds=10)
        source.close()


def test_a_frozen_stream_fails_within_its_time_out() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url, read_timeout=0.4)
        source.open()
        server.frozen.set()
        _, error = read_until_error(source)
        assert "gave no frame in 0.4 s" in str(error)


def test_a_frozen_stream_can_be_opened_again() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url, read_timeout=0.3)
        source.open()
        server.frozen.set()
        read_until_error(source)
        server.frozen.clear()
        source.open()
        assert source.read().sequence == 0
        source.close()


def test_a_silent_stream_fails_within_the_open_time_out() -> None:
    with mjpeg_server(silent=True) as server:
        source = OpenCvSource(server.url, open_timeout=0.4)
        with pytest.raises(SourceError, match=r"gave no frame in 0\.4 s"):
            source.open()


def test_a_stream_without_frames_is_not_open() -> None:
    with mjpeg_server() as server:
        server.frozen.set()
        source = OpenCvSource(server.url, open_timeout=0.5)
        with pytest.raises(SourceError, match=r"gave no frame in 0\.5 s"):
            source.open()


def test_a_dead_port_is_an_error_at_open() -> None:
    with mjpeg_server() as server:
        url = server.url
    with pytest.raises(SourceError, match=r"cannot open stream http://127\.0\.0\.1"):
        OpenCvSource(url).open()


def test_a_stream_that_hangs_up_is_lost() -> None:
    with mjpeg_server(frames=8) as server:
        source = OpenCvSource(server.url)
        source.open()
        _, error = read_until_error(source)
    assert "is lost" in str(error)


def test_closing_ends_the_wait_for_a_stream() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url, read_timeout=3)
        source.open()
        server.frozen.set()
        thread, errors = fail_in_background(source)
        source.close()
        thread.join(10)
        assert not thread.is_alive()
        assert "open" in str(errors[0]) or "closed" in str(errors[0])


def test_a_stream_never_shows_its_password() -> None:
    with mjpeg_server() as server:
        url = server.url.replace("http://", "http://admin:geheim@")
    source = OpenCvSource(url)
    with pytest.raises(SourceError) as caught:
        source.open()
    for text in (str(caught.value), repr(source), repr(caught.value), repr(threading.enumerate())):
        assert "geheim" not in text and "admin" not in text
    assert "http://***@127.0.0.1" in str(caught.value)


def test_a_stream_with_a_password_opens() -> None:
    with mjpeg_server() as server:
        source = OpenCvSource(server.url.replace("http://", "http://admin:geheim@"))
        source.open()
        assert source.read().image.shape == (48, 64, 3)
        source.close()


@pytest.fixture
def no_ffmpeg_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "")  # so that it is put back after the test
    monkeypatch.delenv("OPENCV_FFMPEG_CAPTURE_OPTIONS")


@pytest.mark.usefixtures("no_ffmpeg_options")
def test_rtsp_goes_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_video_capture(monkeypatch)
    source = OpenCvSource("rtsp://127.0.0.1/live")
    source.open()
    source.close()
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;tcp"


def test_ffmpeg_options_of_the_user_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    fake_video_capture(monkeypatch)
    source = OpenCvSource("rtsp://127.0.0.1/live")
    source.open()
    source.close()
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;udp"


def test_ffmpeg_is_told_time_outs_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    source = OpenCvSource("http://127.0.0.1/live", open_timeout=5, read_timeout=2)
    source.open()
    source.close()
    url, backend, parameters = captures.made[0].arguments
    told = dict(zip(parameters[::2], parameters[1::2], strict=True))
    assert (url, backend) == ("http://127.0.0.1/live", cv2.CAP_FFMPEG)
    assert told[cv2.CAP_PROP_OPEN_TIMEOUT_MSEC] >= 5000
    assert told[cv2.CAP_PROP_READ_TIMEOUT_MSEC] >= 2000
    assert told[cv2.CAP_PROP_N_THREADS] == 1


# Devices


def test_a_device_is_asked_for_its_size_and_frame_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    source = OpenCvSource(DEVICE, width=1280, height=720, fps=30)
    source.open()
    source.close()
    made = captures.made[0]
    assert made.arguments == (DEVICE, cv2.CAP_V4L2)
    assert made.properties == {
        cv2.CAP_PROP_FRAME_WIDTH: 1280,
        cv2.CAP_PROP_FRAME_HEIGHT: 720,
        cv2.CAP_PROP_FPS: 30,
    }


def test_a_device_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    source = OpenCvSource(DEVICE)
    source.open()
    source.close()
    assert captures.made[0].released


@pytest.mark.parametrize("source", [987, "987", "/dev/video987"])
def test_a_missing_device_is_named(source: int | str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=r"no camera at /dev/video987: .*present: "):
        OpenCvSource(source).open()
    assert capfd.readouterr().err == ""


def test_a_device_without_permission_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match="usermod -aG video"):
        OpenCvSource(DEVICE).open()


def test_a_device_that_claims_to_be_open_but_gives_nothing_is_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch, lambda _: (False, None))
    source = OpenCvSource(DEVICE)
    with pytest.raises(SourceError, match="cannot open device"):
        source.open()
    source.close()
    assert captures.made[0].released


@pytest.mark.parametrize("nothing", [(False, None), (True, None), (True, np.zeros((0, 0, 3), np.uint8))])
def test_a_device_that_disappears_is_lost(monkeypatch: pytest.MonkeyPatch, nothing: Any) -> None:
    captures = fake_video_capture(monkeypatch, lambda number: (True, picture()) if number < 2 else nothing)
    source = OpenCvSource(DEVICE)
    source.open()
    frames, error = read_until_error(source)
    assert len(frames) == 2
    assert "is lost" in str(error) and not isinstance(error, SourceEnded)
    source.close()
    assert captures.made[0].released


def test_a_fault_inside_opencv_is_a_lost_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(number: int) -> tuple[bool, Any]:
        if number:
            raise cv2.error("Assertion failed\n in function 'retrieve'")
        return True, picture()

    captures = fake_video_capture(monkeypatch, script)
    source = OpenCvSource(DEVICE)
    source.open()
    source.read()
    with pytest.raises(SourceError, match="is lost: Assertion failed in function 'retrieve'"):
        source.read()
    assert captures.made[0].released


def test_a_true_that_comes_too_late_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()

    def script(number: int) -> tuple[bool, Any]:
        return number == 0 or late.wait(10), picture()

    captures = fake_video_capture(monkeypatch, script)
    source = OpenCvSource(DEVICE, read_timeout=0.1)
    source.open()
    source.read()
    with pytest.raises(SourceError, match=r"gave no frame in 0\.1 s"):
        source.read()
    late.set()
    with pytest.raises(SourceError, match="not open"):
        source.read()
    source.close()
    assert captures.made[0].released


def test_a_hanging_driver_holds_one_thread_however_often_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    captures = fake_video_capture(monkeypatch, lambda _: (back.wait(10), picture()))
    source = OpenCvSource(DEVICE, open_timeout=1)
    with pytest.raises(SourceError, match="gave no frame"):
        source.open()
    with pytest.raises(SourceError, match="still hangs"):
        source.open()
    assert len(captures.made) == 1
    back.set()
    source.close()
    assert captures.made[0].released
    source.open()
    assert source.read().sequence == 0
    source.close()


def test_closing_ends_the_wait_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    back = threading.Event()
    fake_video_capture(monkeypatch, lambda number: (number == 0 or back.wait(10), picture()))
    source = OpenCvSource(DEVICE, read_timeout=10)
    source.open()
    source.read()
    thread, errors = fail_in_background(source)
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    back.set()
    assert "open" in str(errors[0]) or "closed" in str(errors[0])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.full((4, 6), 9, np.uint8), [9, 9, 9]),
        (np.full((4, 6, 1), 9, np.uint8), [9, 9, 9]),
        (np.full((4, 6, 4), (1, 2, 3, 255), np.uint8), [1, 2, 3]),
    ],
)
def test_grey_and_transparent_frames_become_bgr(
    monkeypatch: pytest.MonkeyPatch, given: Any, expected: list[int]
) -> None:
    fake_video_capture(monkeypatch, lambda _: (True, given))
    source = OpenCvSource(DEVICE)
    source.open()
    image = source.read().image
    source.close()
    assert image.shape == (4, 6, 3)
    assert image[0, 0].tolist() == expected


@pytest.mark.parametrize("given", [np.zeros((4, 6), np.uint16), np.zeros((4, 6, 2), np.uint8)])
def test_frames_that_are_no_colours_are_refused_at_open(monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    fake_video_capture(monkeypatch, lambda _: (True, given))
    with pytest.raises(SourceError, match=r"frames of shape .* not H x W x 3 uint8"):
        OpenCvSource(DEVICE).open()


# Pipelines


def test_a_pipeline_without_gstreamer_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:                   NO\n")
    with pytest.raises(BackendUnavailable, match=r"python3-opencv.* JetPack's"):
        OpenCvSource(PIPELINE)


@pytest.mark.usefixtures("gstreamer")
def test_a_pipeline_goes_to_gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    source = OpenCvSource(PIPELINE)
    source.open()
    source.close()
    assert source.live
    assert captures.made[0].arguments == (PIPELINE, cv2.CAP_GSTREAMER)


@pytest.mark.usefixtures("gstreamer")
def test_a_pipeline_that_ends_in_nv12_is_not_taken_for_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_video_capture(monkeypatch, lambda _: (True, np.zeros((720, 640), np.uint8)))
    with pytest.raises(SourceError, match="format=BGR"):
        OpenCvSource(PIPELINE).open()


# Raspberry Pi cameras


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    return fake_picamera2(monkeypatch)


def test_without_picamera2_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(BackendUnavailable, match=r"apt install python3-picamera2.*--system-site-packages"):
        Picamera2Source()


def test_picamera2_built_for_another_numpy_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setitem(sys.modules, "picamera2", Broken("picamera2"))
    with pytest.raises(BackendUnavailable, match=r"numpy\.dtype size changed.* simplejpeg"):
        Picamera2Source()


def test_a_pi_camera_is_configured_for_video(camera: type[FakePicamera2]) -> None:
    source = Picamera2Source(width=640, height=480, fps=20)
    source.open()
    made = camera.made[0]
    assert made.configuration["main"] == {"size": (640, 480), "format": "RGB888"}
    assert made.configuration["controls"] == {"FrameDurationLimits": (50_000, 50_000)}
    assert made.configuration["buffer_count"] > 1
    assert made.configuration["queue"] is False
    source.close()


def test_a_pi_camera_has_a_size_and_frame_rate_of_its_own(camera: type[FakePicamera2]) -> None:
    source = Picamera2Source()
    source.open()
    assert source.read().image.shape == (720, 1280, 3)
    assert camera.made[0].configuration["controls"] == {}
    source.close()


def test_a_pi_camera_is_stopped_and_closed(camera: type[FakePicamera2]) -> None:
    source = Picamera2Source(width=64, height=48)
    source.open()
    source.close()
    assert camera.made[0].closed and not camera.made[0].started


def test_the_second_pi_camera(camera: type[FakePicamera2]) -> None:
    camera.cameras = 2
    source = Picamera2Source(1, width=64, height=48)
    source.open()
    assert camera.made[0].camera_num == 1
    source.close()


def test_a_missing_pi_camera_is_an_error_at_open(camera: type[FakePicamera2]) -> None:
    with pytest.raises(SourceError, match=r"no camera picamera2:1 \(1 found\)"):
        Picamera2Source(1).open()


def test_a_busy_pi_camera_is_an_error_at_open(camera: type[FakePicamera2]) -> None:
    camera.busy = True
    with pytest.raises(SourceError, match=r"did not complete.*another program"):
        Picamera2Source().open()


def test_a_pi_camera_without_a_first_frame_is_not_open(camera: type[FakePicamera2]) -> None:
    camera.stalled = True
    source = Picamera2Source(open_timeout=0.2)
    with pytest.raises(SourceError, match="gave no frame"):
        source.open()
    assert camera.made[0].closed


def test_a_pi_camera_that_stalls_fails_within_its_time_out(camera: type[FakePicamera2]) -> None:
    source = Picamera2Source(width=64, height=48, read_timeout=0.2)
    source.open()
    source.read()
    camera.stalled = True
    with pytest.raises(SourceError, match=r"gave no frame in 0\.2 s"):
        source.read()
    assert camera.made[0].closed


def test_a_pi_camera_comes_back(camera: type[FakePicamera2]) -> None:
    source = Picamera2Source(width=64, height=48, read_timeout=0.1)
    source.open()
    camera.stalled = True
    read_until_error(source)
    camera.stalled = False
    source.open()
    assert source.read().sequence == 0
    source.close()


def test_a_pi_camera_that_fails_is_lost(camera: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch) -> None:
    source = Picamera2Source(width=64, height=48)
    source.open()
    source.read()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("camera frontend has timed out")

    monkeypatch.setattr(camera, "capture_array", fail)
    with pytest.raises(SourceError, match="is lost: camera frontend has timed out"):
        source.read()
    assert camera.made[0].closed


def test_closing_ends_the_wait_for_a_pi_camera(camera: type[FakePicamera2]) -> None:
    source = Picamera2Source(width=64, height=48, read_timeout=30)
    source.open()
    camera.stalled = True
    thread, errors = fail_in_background(source)
    while len(camera.made[0].jobs) < 2:  # the first one was that of the open
        time.sleep(0.01)
    source.close()
    thread.join(5)
    assert not thread.is_alive()
    assert "closed while reading" in str(errors[0])


def test_a_pi_camera_that_does_not_close_is_reported_only(
    camera: type[FakePicamera2], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = Picamera2Source(width=64, height=48)
    source.open()

    def fail(_: FakePicamera2) -> None:
        raise RuntimeError("Unable to stop preview.")

    monkeypatch.setattr(camera, "close", fail)
    source.close()
    assert "did not close: Unable to stop preview" in caplog.text

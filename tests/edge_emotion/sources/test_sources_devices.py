"""Cameras, with a fake cv2.VideoCapture and a fake picamera2: devices, GStreamer pipelines, the Pi's own."""

from __future__ import annotations

import os
import sys
import threading
import time
import types
from typing import Any

import cv2
import numpy as np
import pytest
from support.broker import wait_until
from support.source_fakes import (
    DEVICE,
    FakePicamera2,
    fail_in_background,
    fake_picamera2,
    fake_video_capture,
    picture,
    read_until_error,
)

from edge_emotion.daemon.capture import Capture, Timing
from edge_emotion.errors import BackendUnavailable, SourceEnded, SourceError
from edge_emotion.sources.opencv import OpenCvSource
from edge_emotion.sources.picamera2 import Picamera2Source

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.usefixtures("nothing_is_left_behind")]

PIPELINE = "videotestsrc ! videoconvert ! video/x-raw,format=BGR ! appsink"


@pytest.fixture
def gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:   YES (1.20.3)\n")


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


def test_a_frame_that_is_not_due_is_counted_and_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch)
    source = OpenCvSource(DEVICE)
    source.open()
    source.read()
    asked: list[float] = []
    begin = time.monotonic()
    for _ in range(5):
        assert source.read_due(lambda timestamp: bool(asked.append(timestamp))) is None
    assert begin <= asked[0] and asked == sorted(asked) and len(asked) == 5
    assert (captures.made[0].reads, captures.made[0].retrieved) == (6, 1)
    frame = source.read_due(lambda timestamp: timestamp > asked[-1])
    assert frame is not None and (frame.sequence, frame.image[0, 0, 0]) == (6, 6)
    source.close()


def test_a_device_that_disappears_between_two_frames_that_are_due_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_video_capture(monkeypatch, lambda number: (number < 3, picture()))
    source = OpenCvSource(DEVICE)
    source.open()
    source.read()
    assert [source.read_due(lambda timestamp: False) for _ in range(2)] == [None, None]
    with pytest.raises(SourceError, match="is lost"):
        source.read_due(lambda timestamp: False)
    source.close()


def test_more_frames_than_max_fps_come_but_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    captures = fake_video_capture(monkeypatch, lambda number: (number < 500, picture(number % 100)))
    camera = Capture("desk", OpenCvSource(DEVICE), threading.Condition(), max_fps=1, timing=Timing(first_retry=60))
    begin = time.monotonic()
    camera.start()
    wait_until(lambda: camera.status == "offline")
    first = captures.made[0]
    assert camera.frames == 500 and first.reads == 501
    assert first.retrieved <= 2 + (time.monotonic() - begin) / 0.75
    assert camera.losses == 1 and camera.slot.take() is None
    camera.ask_to_stop()
    camera.join(5)


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

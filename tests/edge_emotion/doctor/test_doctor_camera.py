"""The doctor's look at cameras: shipped clip, real MJPEG server, and fakes of what only hardware has."""

from __future__ import annotations

import errno
import os
import re
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.compiler import compile_c
from support.source_fakes import DEVICE, FakePicamera2, fake_picamera2, fake_video_capture, mjpeg_server, picture

from edge_emotion.cli.demo import CLIP
from edge_emotion.config.settings import CameraSettings
from edge_emotion.doctor import camera as doctor_camera
from edge_emotion.doctor import v4l2
from edge_emotion.doctor.camera import camera_check
from edge_emotion.doctor.report import Finding, run_checks

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

WEBCAM = {"YUYV": [(640, 480, (15, 30)), (1280, 720, (10,))], "MJPG": [(1280, 720, (30,)), (640, 480, (30,))]}


def look(source: str, *, in_use: bool = False, **options: Any) -> Finding:
    check = camera_check("desk", CameraSettings(source=source, **options), min_size=40, in_use=in_use)
    ((name, finding),) = run_checks([check])
    assert name == "camera desk"
    return finding


def webcam(
    formats: dict[str, list[tuple[int, int, tuple[int, ...]]]], capabilities: int = v4l2.CAPTURE
) -> Callable[..., int]:
    """The ioctl of a driver that follows the kernel's documentation, for a camera with these formats."""

    def sizes(code: int) -> list[tuple[int, int, tuple[int, ...]]]:
        return formats[struct.pack("<I", code).decode()]

    def ioctl(_device: int, request: int, answer: bytearray, mutate: bool) -> int:
        index, first, second, third = struct.unpack_from("4I", answer)
        try:
            if request == v4l2.QUERYCAP:
                struct.pack_into("16s32s", answer, 0, b"uvcvideo", b"HD Webcam")
                struct.pack_into("2I", answer, 84, 0x85200001, capabilities)
            elif request == v4l2.ENUM_FMT:
                assert first == 1
                struct.pack_into("4s", answer, 44, list(formats)[index].encode())
            elif request == v4l2.ENUM_FRAMESIZES:
                struct.pack_into("3I", answer, 8, 1, *sizes(first)[index][:2])
            elif request == v4l2.ENUM_FRAMEINTERVALS:
                rates = next(rates for width, height, rates in sizes(first) if (width, height) == (second, third))
                struct.pack_into("3I", answer, 16, 1, 1, rates[index])
        except (IndexError, KeyError) as error:
            raise OSError(errno.EINVAL, "Invalid argument") from error
        return 0

    return ioctl


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webcam at DEVICE: its driver answers, and OpenCV gets pictures of 640 x 480 from it."""
    monkeypatch.setattr(v4l2, "ioctl", webcam(WEBCAM))
    fake_video_capture(monkeypatch, lambda number: (True, picture(number, 480, 640)))


def test_numbers_and_layouts_are_those_of_the_kernel(tmp_path: Path) -> None:
    names = ("QUERYCAP", "ENUM_FMT", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS")
    structs = ("v4l2_capability", "v4l2_fmtdesc", "v4l2_frmsizeenum", "v4l2_frmivalenum")
    fields = ("capability, device_caps", "fmtdesc, pixelformat", "frmsizeenum, type", "frmivalenum, type")
    values = [f"(unsigned long)VIDIOC_{name}" for name in names] + [f"sizeof(struct {name})" for name in structs]
    values += [f"offsetof(struct v4l2_{field})" for field in fields]
    values += ["offsetof(struct v4l2_frmsizeenum, stepwise.max_width)", "offsetof(struct v4l2_frmivalenum, discrete)"]
    values += ["(unsigned long)V4L2_CAP_VIDEO_CAPTURE", "(unsigned long)V4L2_CAP_VIDEO_CAPTURE_MPLANE"]
    prints = "".join(f'printf("%lu ", {value});' for value in values)
    program = f"#include <linux/videodev2.h>\n#include <stddef.h>\n#include <stdio.h>\nint main(void) {{{prints}}}\n"
    layout = compile_c(program, tmp_path / "layout")
    found = subprocess.run([layout], check=True, capture_output=True, timeout=10).stdout
    requests = [getattr(v4l2, name) for name in names]
    assert [int(number) for number in found.split()] == [
        *requests, *(v4l2._SIZES[request] for request in requests), 88, 44, 8, 16, 16, 20, v4l2.CAPTURE,
        v4l2.CAPTURE_MPLANE,
    ]  # fmt: skip


@pytest.mark.usefixtures("camera")
def test_a_device_tells_what_it_offers_and_gives_a_frame() -> None:
    finding = look(DEVICE, width=640, height=480, fps=30)
    assert finding.status == "ok", finding
    assert finding.detail.startswith(
        "HD Webcam (uvcvideo): YUYV up to 1280 x 720 at 10/s, MJPG up to 1280 x 720 at 30/s; a frame of 640 x 480 after"
    )


@pytest.mark.usefixtures("camera")
def test_a_size_that_the_camera_does_not_give_is_warned_of() -> None:
    finding = look(DEVICE, width=1920, height=1080)
    assert finding.status == "warn"
    assert "a frame of 640 x 480" in finding.detail
    assert "although 1920 x 1080 was asked for" in finding.detail


@pytest.mark.usefixtures("camera")
def test_a_frame_rate_that_the_camera_does_not_offer_is_warned_of() -> None:
    finding = look(DEVICE, width=640, height=480, fps=60)
    assert (finding.status, finding.fix[:10]) == ("warn", "set fps to")


def test_a_camera_that_the_daemon_uses_is_asked_and_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "ioctl", webcam(WEBCAM))
    captures = fake_video_capture(monkeypatch)
    finding = look(DEVICE, in_use=True)
    assert finding.status == "ok"
    assert "MJPG up to 1280 x 720" in finding.detail
    assert "the daemon uses it" in finding.detail
    assert not captures.made


def test_the_second_device_of_a_camera_gives_no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = 0x00800000
    monkeypatch.setattr(v4l2, "ioctl", webcam(WEBCAM, metadata))
    finding = look(DEVICE)
    assert (finding.status, finding.detail) == ("fail", f"{DEVICE} (HD Webcam) gives no pictures")
    assert "v4l2-ctl --list-devices" in finding.fix


def test_a_driver_that_tells_no_sizes_is_a_camera_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "ioctl", webcam({"YUYV": []}))
    fake_video_capture(monkeypatch)
    finding = look(DEVICE, fps=30)
    assert finding.status == "ok"
    assert finding.detail.startswith("HD Webcam (uvcvideo): YUYV; a frame of 64 x 48")


def test_a_driver_whose_lists_never_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_device: int, request: int, answer: bytearray, mutate: bool) -> int:
        if request == v4l2.QUERYCAP:
            struct.pack_into("2I", answer, 84, v4l2.CAPTURE, 0)
        return 0

    monkeypatch.setattr(v4l2, "ioctl", endless)
    assert len(v4l2.ask(DEVICE).modes) == 64


def test_a_device_that_is_none_of_video_is_not_mistaken_for_one() -> None:
    with pytest.raises(OSError) as raised:
        v4l2.ask("/dev/null")
    assert raised.value.errno == errno.ENOTTY
    assert look("/dev/null").status == "fail"


def test_a_camera_that_is_not_there_fails() -> None:
    finding = look("/dev/video97")
    assert finding.status == "fail"
    assert "no camera at /dev/video97" in finding.detail
    assert "cameras.desk.source" in finding.fix


@pytest.mark.parametrize(
    ("code", "member", "fix"),
    [
        (errno.EACCES, False, "sudo usermod -aG "),
        (errno.EACCES, True, "log in again"),
        (errno.EPERM, False, "DeviceAllow"),
    ],
)
def test_a_device_that_we_may_not_use_tells_the_group_and_the_way_into_it(
    monkeypatch: pytest.MonkeyPatch, code: int, member: bool, fix: str
) -> None:
    real = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if path == DEVICE:
            raise OSError(code, os.strerror(code), path)
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(doctor_camera, "is_member", lambda user, group: member)
    finding = look(DEVICE)
    assert finding.status == "fail"
    assert DEVICE in finding.detail
    assert fix in finding.fix


def test_a_clip_and_a_folder_of_pictures_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), picture())
    assert "a frame of 640 x 480" in look(str(CLIP)).detail
    assert (look(str(tmp_path)).status, look(str(tmp_path / "none" / "*.png")).status) == ("ok", "fail")


@pytest.mark.parametrize(
    ("size", "options", "reach"),
    [
        ((640, 480), {}, "faces from 58 px on are found, up to about 1.5 m with a lens of 60 degrees"),
        ((1920, 1080), {}, "from 173 px on are found, up to about 1.5 m .*; with range: room up to about 6.7 m"),
        ((1920, 1080), {"range": "hall"}, "faces from 40 px on are found, up to about 6.7 m with a lens of 60 degrees"),
        ((1920, 1080), {"crop": (0.0, 0.0, 0.25, 0.25)}, "from 44 px on are found, up to about 6.0 m .* degrees"),
        ((640, 480), {"range": "room"}, "faces from 58 px on are found, up to about 1.5 m .* degrees"),
    ],
)
def test_how_far_a_camera_sees_follows_from_its_pictures_and_settings(
    tmp_path: Path, size: tuple[int, int], options: dict[str, Any], reach: str
) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((size[1], size[0], 3), np.uint8))
    assert re.search(f"{reach}$", look(str(tmp_path), **options).detail)


def test_a_stream_is_reached_and_a_silent_one_is_given_up() -> None:
    with mjpeg_server() as server:
        assert "a frame of 64 x 48" in look(server.url).detail
    with mjpeg_server(silent=True) as server:
        finding = look(server.url, open_timeout=0.3)
    assert finding.status == "fail"
    assert "gave no answer in 0.3 s" in finding.detail


def test_a_driver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any) -> Any:
        released.wait(30)
        return False, None

    released = threading.Event()
    fake_video_capture(monkeypatch, hang)
    try:
        finding = look(DEVICE, open_timeout=0.2)
    finally:
        released.set()
    assert finding.status == "fail"
    assert "gave no frame in" in finding.detail


def test_a_raspberry_pi_camera_gives_a_frame_or_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    library = fake_picamera2(monkeypatch)
    assert "a frame of 640 x 480" in look("picamera2", width=640, height=480).detail
    assert "not opened" in look("picamera2", in_use=True).detail
    monkeypatch.setattr(FakePicamera2, "cameras", 0)
    finding = look("picamera2")
    assert (finding.status, "rpicam-hello" in finding.fix) == ("fail", True)
    assert all(made.closed for made in library.made)


def test_a_pipeline_without_gstreamer_fails() -> None:
    finding = look("videotestsrc ! appsink")
    assert finding.status == "fail"
    assert "GStreamer" in finding.detail

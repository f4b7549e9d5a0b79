"""Cameras that can be lost in every way: a real RTSP server, a real MJPEG server, a fake device.

All show one picture with the number of the frame in it; numbers grow, also over restarts.
"""

from __future__ import annotations

import select
import signal
import subprocess
import threading
import time
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pytest

from edge_emotion.datatypes import Image
from support.broker import free_port
from support.frame_numbers import STRIP, strip
from support.paths import ROOT
from support.source_fakes import DEVICE, MjpegServer, fake_video_capture

SYSTEM_PYTHON = "/usr/bin/python3"
FPS = 10


class StageCamera(Protocol):
    """A camera at ``source`` that a test can break and mend; ``size`` is that of its frames after ``mend``."""

    source: str

    def lose(self, how: str) -> None:
        """Break it: ``killed``, ``frozen``, ``corrupt``, as far as this kind knows it."""

    def mend(self, picture: Image) -> None:
        """Make it work again, with this picture."""

    def close(self) -> None:
        """End for good."""


def numbered(picture: Image, number: int) -> Image:
    """A copy of a H x W x 3 picture with ``number`` in it, for frame_numbers.read_number."""
    copy, width = picture.copy(), picture.shape[1]
    copy[:STRIP] = np.frombuffer(strip(number, width), np.uint8).reshape(STRIP, width, 3)
    return copy


def rtsp_is_missing() -> str:
    """Why there can be no RTSP server; empty if there can."""
    probe = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
        "Gst.init(None); exit(not all(map(Gst.ElementFactory.find, ('appsrc', 'x264enc', 'rtph264pay'))))"
    )
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", probe], capture_output=True, timeout=60)
    except FileNotFoundError:
        return f"there is no {SYSTEM_PYTHON}"
    return "" if done.returncode == 0 else "gst-rtsp-server is not installed: the Makefile names its packages"


class RtspCamera:
    """tests/support/rtsp_server.py in a process of its own."""

    def __init__(self, folder: Path, picture: Image) -> None:
        if reason := rtsp_is_missing():
            pytest.skip(reason)
        self._file, self._port, self._starts = folder / "picture.bgr", free_port(), count()
        self._process: subprocess.Popen[bytes] | None = None
        self.source = f"rtsp://127.0.0.1:{self._port}/live"
        self.mend(picture)

    def lose(self, how: str) -> None:
        assert self._process is not None
        self._process.send_signal({"killed": signal.SIGKILL, "frozen": signal.SIGSTOP}[how])
        if how == "killed":
            self._process.wait(10)

    def mend(self, picture: Image) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            return
        self.close()
        height, width = picture.shape[:2]
        self._file.write_bytes(picture.tobytes())
        numbers = map(str, (self._port, width, height, FPS, 1 + 10_000 * next(self._starts)))
        command = [SYSTEM_PYTHON, str(ROOT / "tests" / "rtsp_server.py"), *numbers, str(self._file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 30)[0], "the RTSP server does not start"
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


class MjpegCamera:
    """An MJPEG server of this process."""

    def __init__(self, picture: Image) -> None:
        self._numbers, self._picture = count(1), picture
        self._server = MjpegServer(draw=self._draw)
        self._port, self.source = self._server.server.server_port, self._server.url

    def lose(self, how: str) -> None:
        if how == "killed":
            self._server.stop()
        else:
            {"frozen": self._server.frozen, "corrupt": self._server.corrupt}[how].set()

    def mend(self, picture: Image) -> None:
        self._picture = picture
        if self._server.stopping.is_set():
            self._server = MjpegServer(draw=self._draw, port=self._port)
        self._server.frozen.clear()
        self._server.corrupt.clear()

    def close(self) -> None:
        if not self._server.stopping.is_set():
            self._server.stop()

    def _draw(self, _: int) -> Image:
        return numbered(self._picture, next(self._numbers))


class DeviceCamera:
    """A V4L2 camera whose driver is a fake."""

    source = DEVICE

    def __init__(self, monkeypatch: pytest.MonkeyPatch, picture: Image) -> None:
        self._numbers, self._picture = count(1), picture
        self._gone, self._works = threading.Event(), threading.Event()
        self._works.set()
        make_real = cv2.VideoCapture
        fake = fake_video_capture(monkeypatch, self._read)
        # Only the device is a fake: other cameras go on with the real thing.
        monkeypatch.setattr(
            cv2, "VideoCapture", lambda source, *rest: (fake if source == DEVICE else make_real)(source, *rest)
        )

    def lose(self, how: str) -> None:
        if how == "frozen":
            self._works.clear()
        else:
            self._gone.set()

    def mend(self, picture: Image) -> None:
        self._picture = picture
        self._gone.clear()
        self._works.set()

    def close(self) -> None:
        self._works.set()

    def _read(self, _: int) -> tuple[bool, Any]:
        self._works.wait(60)
        time.sleep(1 / FPS)
        return (False, None) if self._gone.is_set() else (True, numbered(self._picture, next(self._numbers)))

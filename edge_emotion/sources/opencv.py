"""Frames through OpenCV: V4L2 devices, network streams, video files, GStreamer pipelines."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge_emotion.config.redaction import hide, redact
from edge_emotion.config.source_spec import classify_source, device_path
from edge_emotion.datatypes import Frame, Image
from edge_emotion.errors import BackendUnavailable, SourceEnded, SourceError, SourceStalled
from edge_emotion.sources.opencv_thread import Arrival, BoundedCapture, Driver, Due, always
from edge_emotion.sources.stream_lag import Freshness
from edge_emotion.system.opencv_build import has_gstreamer
from edge_emotion.system.paths import expand

# It says what our own errors say, in many lines and at every attempt to open a camera that is away.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_CLOSE_GRACE = 1.0
"""Seconds that ``close`` waits for a device to be given back."""

TIME_OUT_MARGIN = 0.5
"""Seconds between our time-out and that of FFmpeg."""

_MAX_GAP = 5.0
"""Seconds between two frames of a video; more is a cut between two recordings."""

_ADVICE = {
    "device": "is it unplugged or used by another program? (fuser -v /dev/video*)",
    "stream": "check address, user and password, and that the camera is on",
    "pipeline": "try it with gst-launch-1.0; it must end in: videoconvert ! video/x-raw,format=BGR ! appsink",
    "video": "is it a complete video? (check with ffprobe)",
}


class OpenCvSource:
    """A FrameSource over cv2.VideoCapture.

    ``source``: a device number or ``/dev/...`` path, a stream's URL, a GStreamer pipeline, or a video file.
    ``width``, ``height`` (pixels), ``fps`` and the pixel format ``fourcc`` are asked of a device, that may choose
    others; the rest ignores them.
    Time-outs are seconds and hold for every kind, whatever the driver does.
    A file is finite: its frames are stamped by their times in the video, counted from the ``open``; with
    ``realtime`` each is given when it is due, otherwise as fast as it is decoded; ``loop`` starts it again.
    A stream may be ``paced`` by its own times like a file (HLS comes in segments), and ``finite`` (a file on a server).
    ``connect`` opens a stream by other means than OpenCV's.
    Raises ValueError for a source of another kind, BackendUnavailable for a pipeline where OpenCV has no GStreamer.
    """

    def __init__(
        self,
        source: int | str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        fourcc: str | None = None,
        open_timeout: float = 10.0,
        read_timeout: float = 4.0,
        loop: bool = False,
        realtime: bool = True,
        paced: bool = False,
        finite: bool = False,
        connect: Callable[[], Driver] | None = None,
    ) -> None:
        self._kind = classify_source(source)
        if self._kind not in _ADVICE:
            raise ValueError(f"{redact(source)} is no device, stream, pipeline or video: its kind is {self._kind}")
        if self._kind == "pipeline":
            _require_gstreamer()
        self._source = source
        self._name = f"{self._kind} {redact(source)}"
        self._properties = {  # the format first: sizes and rates depend on it
            cv2.CAP_PROP_FOURCC: None if fourcc is None else cv2.VideoWriter.fourcc(*fourcc),
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
        }
        self._open_timeout = open_timeout
        self._read_timeout = read_timeout
        self._loop = loop
        self._realtime = realtime
        self._connect = connect
        self._paced, self._finite = paced or self._kind == "video", finite or self._kind == "video"
        self._capture: BoundedCapture | None = None
        self._pending: Arrival | None = None
        self._timeline: _Timeline | None = None
        self._freshness: Freshness | None = None
        self._sequence = 0

    def __repr__(self) -> str:
        return f"OpenCvSource({redact(self._source)!r})"

    @property
    def live(self) -> bool:
        """False for a video file only."""
        return self._kind != "video"

    def open(self) -> None:
        """Open it and wait for its first frame: what OpenCV calls opened may still be dead."""
        begin = time.monotonic()
        if self._capture is not None:
            self._capture.stop()
        create = self._prepare()
        # One hanging driver call is one thread, however often the device is tried again.
        if self._capture is not None and not self._capture.join(begin + self._open_timeout - time.monotonic()):
            raise SourceError(f"{self._name} still hangs in its driver since it failed: unplug it, or restart")
        loop = self._loop and self._finite
        capture = self._capture = BoundedCapture(create, self._name, file=self._paced, loop=loop)
        self._sequence = 0
        # Only RTSP has the times of its frames; FFmpeg invents those of MJPEG.
        self._freshness = Freshness() if _is_rtsp(self._source) else None
        self._pending = self._receive_fresh(capture, begin, self._open_timeout)
        if self._pending is None:
            raise SourceError(f"cannot open {self._name}: {hide(capture.fault, self._source) or _ADVICE[self._kind]}")
        self._timeline = _Timeline(self._pending) if self._paced else None

    def read(self) -> Frame:
        """Give the next frame; of a file in real time, when it is due."""
        frame = self.read_due(always)
        assert frame is not None
        return frame

    def read_due(self, due: Due) -> Frame | None:
        """The same, but None for a frame that is not ``due``; its picture is not fetched from the driver.

        Of what is paced by its own times, ``due`` cannot be asked at the arrival: every frame is given.
        """
        capture, due = self._capture, always if self._paced else due
        if capture is None or capture.stopped.is_set():
            raise SourceError(f"{self._name} is not open: call open() before read()")
        arrival = self._pending or self._receive_fresh(capture, time.monotonic(), self._read_timeout, due)
        self._pending = None
        if arrival is None and self._finite and not capture.fault:
            raise SourceEnded(f"{self._name} has given its last frame")
        if arrival is None:
            raise SourceError(
                f"{self._name} is lost: {hide(capture.fault, self._source) or 'it gives no more frames'}; open it again"
            )
        frame = None if arrival.image is None else self._frame(arrival, arrival.image, capture)
        self._sequence += 1
        return frame

    def close(self) -> None:
        """Give the device back, also while another thread reads. Waits a second at most for a driver that hangs."""
        if self._capture is not None:
            self._capture.stop()
            self._capture.join(_CLOSE_GRACE)

    def _prepare(self) -> Callable[[], Driver]:
        """Check what can be checked before OpenCV is asked: it would print, and not explain."""
        if self._connect is not None:
            return self._connect
        if self._kind == "device":
            return _device(self._source, self._properties)
        if self._kind == "pipeline":
            pipeline = str(self._source)
            return lambda: cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
        if not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
            raise SourceError(f"{self._name} needs an OpenCV with FFmpeg: pip install opencv-python-headless")
        if self._kind == "video":
            return _video(str(self._source))
        return _stream(str(self._source), self._open_timeout, self._read_timeout)

    def _receive_fresh(
        self, capture: BoundedCapture, begin: float, timeout: float, due: Due = always
    ) -> Arrival | None:
        """One frame, converted, within ``timeout`` after ``begin``; of a stream that lies behind, one without delay.

        One that has not caught up after half the time is taken as it is.
        """
        arrival = self._receive(capture, begin, timeout, due)
        while arrival and self._freshness and self._freshness.is_stale(arrival.position, arrival.timestamp):
            if time.monotonic() - begin > timeout / 2:
                self._freshness.trust()
                break
            arrival = self._receive(capture, begin, timeout, due)
        return arrival

    def _receive(self, capture: BoundedCapture, begin: float, timeout: float, due: Due) -> Arrival | None:
        """One frame, converted; None at the end. The capture is stopped whenever it gives none."""
        try:
            arrival = capture.read(max(0.0, begin + timeout - time.monotonic()), due)
        except TimeoutError:
            capture.stop()
            raise SourceStalled(f"{self._name} gave no frame in {timeout:.1f} s: {_ADVICE[self._kind]}") from None
        if capture.stopped.is_set():
            raise SourceError(f"{self._name} was closed while reading")
        if arrival is None:
            capture.stop()
            return None
        if arrival.image is None:
            return arrival
        try:
            return arrival._replace(image=_as_bgr(arrival.image, grey=self._kind != "pipeline"))
        except ValueError as error:
            capture.stop()
            raise SourceError(f"{self._name} gives {error}: {_ADVICE[self._kind]}") from None

    def _frame(self, arrival: Arrival, picture: npt.NDArray[np.generic], capture: BoundedCapture) -> Frame:
        image = np.asarray(picture, np.uint8)
        if self._timeline is None:
            return Frame(image, arrival.timestamp, arrival.captured_at, self._sequence)
        timestamp, captured_at = self._timeline.stamp(arrival)
        if self._realtime and capture.stopped.wait(max(0.0, timestamp - time.monotonic())):
            raise SourceError(f"{self._name} was closed while reading")
        return Frame(image, timestamp, captured_at, self._sequence)


class _Timeline:
    """Stamps the frames of a video by their times in it, so that results do not depend on decoding speed."""

    def __init__(self, first: Arrival) -> None:
        self._start, self._started_at = first.timestamp, first.captured_at
        self._position = first.position
        self._elapsed = -first.period

    def stamp(self, arrival: Arrival) -> tuple[float, datetime]:
        """Monotonic seconds and UTC.

        A video without times, one that began again, and a cut (times that jump by more than _MAX_GAP seconds and
        several frames) continue after one period.
        """
        step = arrival.position - self._position
        self._elapsed += step if 0 < step <= max(_MAX_GAP, 5 * arrival.period) else arrival.period
        self._position = arrival.position
        return self._start + self._elapsed, self._started_at + timedelta(seconds=self._elapsed)


def _as_bgr(image: npt.NDArray[np.generic], *, grey: bool) -> Image:
    """H x W x 3 uint8. Raises ValueError saying what it is; for one channel too unless ``grey``.

    A pipeline hands over NV12, I420 and JPEG as one channel: shown as grey they would be an invented picture.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, 3, 4) or (channels == 1 and not grey):
        raise ValueError(f"frames of shape {image.shape} and type {image.dtype}, not H x W x 3 uint8")
    if channels == 3:
        return np.asarray(image, np.uint8)
    code = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    return np.asarray(cv2.cvtColor(np.asarray(image, np.uint8), code), np.uint8)


def _device(source: int | str, properties: dict[int, float | None]) -> Callable[[], Driver]:
    number = re.fullmatch(r"[0-9]+", str(source))
    path = device_path(source)
    if sys.platform == "linux":
        _check_device(path)
    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY

    def create() -> cv2.VideoCapture:
        capture = cv2.VideoCapture(int(number[0]) if number else path, backend)
        for key, value in properties.items():
            if value is not None:
                capture.set(key, value)
        return capture

    return create


def _check_device(path: str) -> None:
    if not Path(path).exists():
        found = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
        raise SourceError(f"no camera at {path}: plug it in, or choose another (present: {found})")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"no permission to use {path}: sudo usermod -aG video $USER, then log in again")


def _require_gstreamer() -> None:
    if not has_gstreamer():
        raise BackendUnavailable(
            "a GStreamer pipeline needs an OpenCV built with GStreamer, the one from PyPI is not: use the "
            "distribution's (sudo apt install python3-opencv) or JetPack's, in a venv with --system-site-packages"
        )


def _video(source: str) -> Callable[[], Driver]:
    path = expand(source)
    if not path.is_file():
        raise SourceError(f"no video file {redact(source)}: check the path (this process runs in {Path.cwd()})")
    if not os.access(path, os.R_OK):
        raise SourceError(f"no permission to read {redact(source)}")
    # Absolute: of a relative path FFmpeg takes what is before a colon for a protocol.
    return lambda: cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)


def _is_rtsp(source: int | str) -> bool:
    return str(source).lower().startswith(("rtsp://", "rtsps://"))


def _stream(url: str, open_timeout: float, read_timeout: float) -> Callable[[], Driver]:
    if _is_rtsp(url):
        # UDP loses packets without a word; OpenCV takes this option from nowhere else.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    # FFmpeg's limits end the thread; they lie behind ours, so that a time-out is always reported as one.
    parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round((open_timeout + TIME_OUT_MARGIN) * 1000)]
    parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, round((read_timeout + TIME_OUT_MARGIN) * 1000)]
    # More decoding threads go on giving old frames for seconds after the stream has frozen.
    if hasattr(cv2, "CAP_PROP_N_THREADS"):  # not in Debian's 4.6
        parameters += [cv2.CAP_PROP_N_THREADS, 1]
    return lambda: cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)

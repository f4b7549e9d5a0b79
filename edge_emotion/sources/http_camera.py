"""Frames from an http:// or https:// address: an MJPEG stream, HLS, a video file or a snapshot, by its content type."""

from __future__ import annotations

import http.client
import threading
import time
from datetime import datetime, timezone
from functools import partial

from edge_emotion.config.redaction import redact
from edge_emotion.datatypes import Frame
from edge_emotion.errors import SourceError, SourceStalled
from edge_emotion.protocols import ChoosingSource
from edge_emotion.sources.http_request import MAX_PICTURE, request
from edge_emotion.sources.mjpeg import JPEG, MjpegCapture
from edge_emotion.sources.opencv import TIME_OUT_MARGIN, OpenCvSource
from edge_emotion.sources.opencv_thread import Due, always
from edge_emotion.system.image_files import decode_picture
from edge_emotion.system.image_header import picture_kind

HLS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")
PAGES = ("text/", "application/json", "application/xml", "application/xhtml")
NAMED_PAGES = ("text/html", "text/plain", "text/xml", "application/json", "application/xml", "application/xhtml+xml")
"""Content types that errors name; others are any words of the server."""

MULTIPART = "multipart/x-mixed-replace"
_BEGIN = 64
"""Bytes of the body that are looked at."""

SNAPSHOT_FPS = 1.0
"""Snapshots a second, if ``fps`` is not set."""


class HttpSource:
    """A live source whose kind is known when it is opened; a video file ends with SourceEnded.

    ``fps`` is the rate at which snapshots are requested. Time-outs are seconds. ``loop`` and ``realtime`` are those of
    a video file.
    """

    def __init__(
        self,
        address: str,
        *,
        fps: float | None = None,
        open_timeout: float = 10.0,
        read_timeout: float = 4.0,
        loop: bool = False,
        realtime: bool = True,
    ) -> None:
        self._address, self._fps = address, fps
        self._open_timeout, self._read_timeout = open_timeout, read_timeout
        self._loop, self._realtime = loop, realtime
        self._inner: ChoosingSource | None = None

    def __repr__(self) -> str:
        return f"HttpSource({redact(self._address)!r})"

    @property
    def live(self) -> bool:
        """Always True."""
        return True

    def open(self) -> None:
        """Request the address, choose by its content type, and open that. Raises SourceError for any other type."""
        if self._inner is None:
            self._inner = self._choose(self._content_type())
        self._inner.open()

    def read(self) -> Frame:
        """Give the next frame."""
        frame = self.read_due(always)
        assert frame is not None
        return frame

    def read_due(self, due: Due) -> Frame | None:
        """The same, but None for a frame that is not ``due``."""
        if self._inner is None:
            raise SourceError(f"{self!r} is not open: call open() before read()")
        return self._inner.read_due(due)

    def close(self) -> None:
        """Close the stream, or end a wait for the next snapshot."""
        if self._inner is not None:
            self._inner.close()

    def _content_type(self) -> str:
        """Lower case, without parameters; MULTIPART for whatever comes in parts or is one JPEG after the other.

        Empty if the server does not speak HTTP as Python expects it.
        """
        try:
            with request(self._address, self._open_timeout) as answer:
                kind = str(answer.headers.get_content_type())
                if kind.startswith(("multipart/", "image/", *PAGES)) or kind in HLS:
                    return MULTIPART if kind.startswith("multipart/") else kind
                begin = answer.peek(_BEGIN)
                if begin.lstrip().startswith(b"--") or (begin.startswith(JPEG) and answer.length is None):
                    return MULTIPART
                return kind if picture_kind(begin) is None else "image/*"
        except http.client.HTTPException:
            return ""

    def _choose(self, kind: str) -> ChoosingSource:
        if kind.startswith("image/"):
            return SnapshotSource(self._address, fps=self._fps or SNAPSHOT_FPS, timeout=self._read_timeout)
        if kind == MULTIPART:
            connect = partial(
                MjpegCapture,
                self._address,
                open_timeout=self._open_timeout + TIME_OUT_MARGIN,
                read_timeout=self._read_timeout + TIME_OUT_MARGIN,
            )
            return OpenCvSource(
                self._address, open_timeout=self._open_timeout, read_timeout=self._read_timeout, connect=connect
            )
        if kind.startswith(PAGES):
            named = kind if kind in NAMED_PAGES else "text"
            raise SourceError(
                f"{redact(self._address)} is a page ({named}), no camera: give the address of its stream or snapshot; "
                "the camera's manual or its ONVIF profile has it"
            )
        paced, finite = kind in HLS or kind.startswith("video/"), kind.startswith("video/")
        return OpenCvSource(
            self._address,
            open_timeout=self._open_timeout,
            read_timeout=self._read_timeout,
            loop=self._loop and finite,
            realtime=self._realtime or not finite,
            paced=paced,
            finite=finite,
        )


class SnapshotSource:
    """A live source that requests one picture after another, ``fps`` times a second."""

    def __init__(self, address: str, *, fps: float, timeout: float) -> None:
        self._address, self._period, self._timeout = address, 1 / fps, timeout
        self._closed = threading.Event()
        self._due, self._count = 0.0, 0

    @property
    def live(self) -> bool:
        """Always True."""
        return True

    def open(self) -> None:
        """Start with the next request."""
        self._closed = threading.Event()
        self._due, self._count = time.monotonic(), 0

    def read(self) -> Frame:
        """Request the next picture when it is due."""
        frame = self.read_due(always)
        assert frame is not None
        return frame

    def read_due(self, due: Due) -> Frame | None:
        """The same; a picture that is not ``due`` is neither requested nor counted as a frame."""
        closed = self._closed
        if closed.wait(max(0.0, self._due - time.monotonic())):
            raise SourceError(f"{redact(self._address)} was closed while reading")
        self._due = max(self._due, time.monotonic() - self._period) + self._period
        timestamp, captured_at = time.monotonic(), datetime.now(timezone.utc)
        if not due(timestamp):
            return None
        data = self._download()
        self._count += 1
        return Frame(decode_picture(data, redact(self._address)), timestamp, captured_at, self._count - 1)

    def close(self) -> None:
        """End a wait for the next request."""
        self._closed.set()

    def _download(self) -> bytes:
        deadline, data = time.monotonic() + self._timeout, bytearray()
        with request(self._address, self._timeout) as answer:
            whole = answer.length
            while whole is None or len(data) < whole:
                if max(whole or 0, len(data)) > MAX_PICTURE:
                    raise SourceError(f"{redact(self._address)} sends more than {MAX_PICTURE // 2**20} MiB")
                if time.monotonic() > deadline:
                    raise SourceStalled(f"{redact(self._address)} sent no whole picture in {self._timeout:.1f} s")
                part = answer.read1(65_536)  # read would wait for all of them
                if not part and whole is not None:
                    raise SourceError(f"{redact(self._address)} sent {len(data)} of {whole} bytes of a picture")
                if not part:
                    break
                data += part
        return bytes(data)

"""MJPEG over HTTP, in parts or as bare JPEGs, read by ourselves: FFmpeg has no limit for the size of a picture."""

from __future__ import annotations

import http.client
import time
from contextlib import ExitStack
from io import BytesIO

from edge_emotion.config.redaction import redact
from edge_emotion.datatypes import Image
from edge_emotion.errors import SourceError
from edge_emotion.sources.http_request import MAX_PICTURE, limit_waits, request
from edge_emotion.system.image_files import decode_picture

JPEG = b"\xff\xd8\xff"
_BOUNDARY = b"\xff\xd9\xff\xd8"
"""The end of a JPEG and the beginning of the next."""

_MAX_LINE = 8192
_CHUNK = 65_536
_MAX_HEADERS = 64
_MAX_BROKEN = 8
"""Broken pictures in a row that are passed over."""


class MjpegCapture:
    """A Driver (see opencv_thread) for the pictures of one MJPEG stream.

    ``open_timeout`` is for the answer, ``read_timeout`` for each picture, in seconds. Raises SourceError in one line.
    """

    def __init__(self, address: str, *, open_timeout: float, read_timeout: float) -> None:
        self._address, self._timeout = address, read_timeout
        self._broken = 0
        with ExitStack() as stack:
            try:
                answer = stack.enter_context(request(address, open_timeout))
            except http.client.HTTPException as error:
                raise SourceError(f"it does not speak HTTP: {type(error).__name__}") from None
            limit_waits(answer, read_timeout)
            self._parts = PartReader(answer)
            self._stack = stack.pop_all()
        self._part = b""

    def grab(self) -> bool:
        """Receive the next picture; False at the end of the stream."""
        try:
            part = self._parts.next(time.monotonic() + self._timeout)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"its connection broke ({type(error).__name__})") from None
        self._part = part or b""
        return part is not None

    def retrieve(self) -> tuple[bool, Image | None]:
        """Decode the picture that was grabbed: H x W x 3 uint8 BGR; of broken ones, the next that is whole."""
        while True:
            try:
                image = decode_picture(self._part, f"a picture of {redact(self._address)}")
            except SourceError:
                self._broken += 1
                if self._broken > _MAX_BROKEN:
                    raise
                if not self.grab():
                    return False, None
            else:
                self._broken = 0
                return True, image

    def get(self, _: int) -> float:
        """Always 0: the parts have no times."""
        return 0.0

    def release(self) -> None:
        """Close the connection."""
        self._stack.close()


class PartReader:
    """The parts of a multipart body, or the pictures of one that begins as a JPEG, each of at most MAX_PICTURE bytes.

    The delimiter is the first line that begins with ``--``; many cameras announce another one.
    """

    def __init__(self, body: BytesIO | http.client.HTTPResponse) -> None:
        self._body = body
        self._held = bytearray()
        self._delimiter = b"--"
        self._at_part = False
        self._bare: bool | None = None
        """Whether the pictures come without delimiters; None until the first bytes are there."""

    def next(self, deadline: float) -> bytes | None:
        """The next part that is not of another type than a picture; None at the end.

        Raises SourceError for a part that is too large, or not complete at ``deadline`` (monotonic seconds).
        """
        if self._bare is None:
            while len(self._held) < 2 and self._receive(deadline):
                pass
            self._bare = self._held.startswith(JPEG[:2])
        if self._bare:
            return self._until_next_jpeg(deadline)
        while self._at_part or self._skip(deadline):
            self._at_part = False
            headers = self._headers(deadline)
            size = headers.get(b"content-length", b"")
            part = self._sized(int(size), deadline) if size.isdigit() else self._until_delimiter(deadline)
            if part is None or headers.get(b"content-type", b"image/").startswith(b"image/"):
                return part
        return None

    def _skip(self, deadline: float) -> bool:
        """Read past the next delimiter; False if there is none, or it is the last."""
        skipped = 0
        while line := self._line(deadline):
            if line.startswith(self._delimiter):
                if self._delimiter == b"--":
                    self._delimiter = line.rstrip()
                return line.rstrip() != self._delimiter + b"--"
            skipped = _bounded(skipped + len(line))
        return False

    def _headers(self, deadline: float) -> dict[bytes, bytes]:
        headers: dict[bytes, bytes] = {}
        for _ in range(_MAX_HEADERS):
            line = self._line(deadline).strip()
            if not line:
                return headers
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip().lower()
        raise SourceError(f"it sends a part with more than {_MAX_HEADERS} headers")

    def _sized(self, size: int, deadline: float) -> bytes | None:
        _bounded(size)
        while len(self._held) < size:
            if not self._receive(deadline):
                return None
        return self._take(size)

    def _until_delimiter(self, deadline: float) -> bytes | None:
        part = bytearray()
        while line := self._line(deadline, _CHUNK):
            if line.startswith(self._delimiter):
                self._at_part = line.rstrip() == self._delimiter
                return bytes(part)
            part += line
            _bounded(len(part))
        return None

    def _until_next_jpeg(self, deadline: float) -> bytes | None:
        searched = 0
        while (at := self._held.find(_BOUNDARY, searched)) < 0:
            searched = max(0, len(self._held) - len(_BOUNDARY))
            if not self._receive(deadline):
                return self._take(len(self._held)) or None
            _bounded(len(self._held))
        return self._take(at + 2)

    def _line(self, deadline: float, most: int = _MAX_LINE) -> bytes:
        """The next line with its end, its first ``most`` bytes, or what is left at the end."""
        searched = 0
        while (at := self._held.find(b"\n", searched, most)) < 0 and len(self._held) < most:
            searched = len(self._held)
            if not self._receive(deadline):
                break
        return self._take(at + 1 or min(most, len(self._held)))

    def _take(self, size: int) -> bytes:
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def _receive(self, deadline: float) -> bool:
        """Wait for what comes next, however little it is; False at the end."""
        if time.monotonic() > deadline:
            raise SourceError("it sends no whole picture in time")
        chunk = self._body.read1(_CHUNK)
        self._held += chunk
        return bool(chunk)


def _bounded(size: int) -> int:
    if size > MAX_PICTURE:
        raise SourceError(f"it sends a picture of more than {MAX_PICTURE // 2**20} MiB")
    return size

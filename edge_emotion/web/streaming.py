"""Answers that never end: the stream of events, and the preview."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from edge_emotion.datatypes import Image
from edge_emotion.web.live import LiveState, Stream
from edge_emotion.web.tap import PICTURES_PER_SECOND, Preview

PAUSE = 15.0
"""Seconds without a message after which a comment keeps the connection open."""

RETRY_MS = 1_000
"""Milliseconds after which a browser connects again."""

SLOW = 10.0
"""Seconds for a viewer to take what was sent; then it is dropped."""

QUALITY = 70
"""Of the JPEGs of the preview, 0 to 100."""

BOUNDARY = b"picture"

EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
PICTURES = [(b"content-type", b"multipart/x-mixed-replace; boundary=" + BOUNDARY)]


class EventStream:
    """The messages of one viewer, until it leaves, is too slow, or the server stops. An ASGI application."""

    def __init__(self, live: LiveState, stream: Stream) -> None:
        self._live, self._stream = live, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        try:
            await (_head(EVENTS, send) if _is_head(scope) else until_left(self._send_all(send), receive))
        finally:
            self._live.unsubscribe(self._stream)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await _send_in_time(send, b"retry: %d\n\n" % RETRY_MS)
        while not self._stream.ended:
            chunk = await self._stream.next(PAUSE)
            if not self._stream.ended:
                await _send_in_time(send, b":\n\n" if chunk is None else chunk)
        await send({"type": "http.response.body", "body": b""})


class PreviewStream:
    """The pictures of one camera as MJPEG, until the viewer leaves or is too slow. An ASGI application."""

    def __init__(self, preview: Preview, camera: str) -> None:
        self._preview, self._camera = preview, camera

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if _is_head(scope):
            await _head(PICTURES, send)
            return
        with self._preview.looking(self._camera):
            await until_left(self._send_all(send), receive)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": PICTURES})
        number = 0
        while not self._preview.ended:
            await asyncio.sleep(0.5 / PICTURES_PER_SECOND)
            found = self._preview.newest(self._camera)
            if found is not None and found.number != number:
                number = found.number
                jpeg = await run_in_threadpool(_encoded, found.image)
                head = b"--%b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (BOUNDARY, len(jpeg))
                await _send_in_time(send, head + jpeg + b"\r\n")
        await send({"type": "http.response.body", "body": b""})


def _is_head(scope: Scope) -> bool:
    return bool(scope["method"] == "HEAD")


async def _head(headers: list[tuple[bytes, bytes]], send: Send) -> None:
    """An answer without a body."""
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def until_left(sending: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Send until that is done or the client has left."""
    sender, leaver = asyncio.ensure_future(sending), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((sender, leaver), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sender, leaver):
            await _cancelled(task)


async def _cancelled(task: asyncio.Future[None]) -> None:
    """Cancel a task until it ends: before Python 3.12 ``wait_for`` loses a cancellation that comes with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.2)
    with suppress(asyncio.CancelledError, asyncio.TimeoutError):
        task.result()


async def _left(receive: Receive) -> None:
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()


async def _send_in_time(send: Send, chunk: bytes) -> None:
    await asyncio.wait_for(send({"type": "http.response.body", "body": chunk, "more_body": True}), SLOW)


def _encoded(image: Image) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])

"""Answers that never end: the stream of events."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import Message, Receive, Scope, Send

from edge_emotion.web.live import LiveState, Stream

PAUSE = 15.0
"""Seconds without a message after which a comment keeps the connection open."""

SLOW = 10.0
"""Seconds for a viewer to take what was sent; then it is dropped."""

HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


class StreamResponse:
    """One stream of a viewer, until it leaves, is too slow, or the server stops."""

    def __init__(self, live: LiveState, stream: Stream) -> None:
        self._live, self._stream = live, stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        sender = asyncio.ensure_future(self._send_all(send))
        leaver = asyncio.ensure_future(until_left(receive))
        try:
            await asyncio.wait((sender, leaver), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._live.unsubscribe(self._stream)
            for task in (sender, leaver):
                task.cancel()
                with suppress(asyncio.CancelledError, asyncio.TimeoutError):
                    await task

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await _send_in_time(send, b": edge-emotion\n\n")
        while not self._stream.ended:
            chunk = await self._stream.next(PAUSE)
            if not self._stream.ended:
                await _send_in_time(send, b":\n\n" if chunk is None else chunk)
        await send({"type": "http.response.body", "body": b""})


async def until_left(receive: Receive) -> None:
    """Return when the client has left."""
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()


async def _send_in_time(send: Send, chunk: bytes) -> None:
    await asyncio.wait_for(send({"type": "http.response.body", "body": chunk, "more_body": True}), SLOW)

"""The present of a node: its last events, states and figures, and the streams of those who look at it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.wire.payloads import event_to_json, state_to_json, to_json

KEPT_EVENTS = 1_000
"""Events that can be asked for again."""

MAX_STREAMS = 20
"""Most streams at the same time."""

MAX_WAITING = 256
"""Most messages that wait for a viewer; one that takes them more slowly is dropped."""

NO_STATE: dict[str, Any] = {
    "ts": None,
    "faces": 0,
    "emotion": None,
    "confidence": None,
    "probabilities": {},
    "counts": {},
}
"""Before the first frame of a camera."""


class TooManyStreams(Exception):  # noqa: N818 - the name is clear without Error
    """MAX_STREAMS are open already."""


class Stream:
    """The chunks of a text/event-stream for one viewer. Only for the thread of the server."""

    def __init__(self, chunks: Sequence[bytes], last: int, since: int | None = None) -> None:
        """``last``: of the newest event in ``chunks``. ``since``: of the viewer's newest one, if none is kept."""
        self._queue: deque[bytes] = deque(chunks)
        self._filled = asyncio.Event()
        self._last, self._since, self._replayed = last, since, len(chunks)
        self.ended = False
        """True when nothing comes any more: the server stops, or the viewer was too slow."""
        self._wake()

    def offer(self, chunk: bytes, seq: int | None = None) -> None:
        """Add a chunk; an event whose number was sent already is left out."""
        if seq is not None:
            if seq <= self._last:
                return
            chunk = _gap(self._since, seq) + chunk
            self._last, self._since = seq, None
        if len(self._queue) >= self._replayed + MAX_WAITING:
            self.end()
        else:
            self._queue.append(chunk)
            self._wake()

    def end(self) -> None:
        """End the stream now."""
        self.ended = True
        self._queue.clear()
        self._filled.set()

    async def next(self, timeout: float) -> bytes | None:
        """All chunks that wait; None after ``timeout`` seconds without one, and at the end."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._filled.wait(), timeout)
        if self.ended or not self._queue:
            return None
        chunks = b"".join(self._queue)
        self._queue.clear()
        self._replayed = 0
        self._filled.clear()
        return chunks

    def _wake(self) -> None:
        if self._queue:
            self._filled.set()


class LiveState:
    """Filled by the main loop, read by the thread of the server. No method blocks."""

    def __init__(self) -> None:
        self.info: Mapping[str, Any] = {}
        self.stats: Mapping[str, Any] = {}
        self._lock = threading.Lock()
        self._events: deque[tuple[int, bytes]] = deque(maxlen=KEPT_EVENTS)
        self._states: dict[str, dict[str, Any]] = {}
        self._available: dict[str, bool] = {}
        self._features: dict[str, dict[str, Any]] = {}
        self._streams: tuple[Stream, ...] = ()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def watched(self) -> bool:
        """True while a stream is open."""
        return bool(self._streams)

    @property
    def streams(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    # By the main loop.

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str]) -> None:
        """Replace the node's info; cameras that are not in ``cameras`` are gone."""
        self.info = info
        with self._lock:
            for kept in (self._states, self._available, self._features):
                for name in kept.keys() - set(cameras):
                    del kept[name]
            self._available = {name: self._available.get(name, False) for name in cameras}

    def add_event(self, event: EmotionEvent) -> None:
        """Keep an event and show it. Raises ValueError for one that has no JSON form."""
        payload = event_to_json(event)
        with self._lock:
            self._events.append((event.seq, payload))
        if self._streams:
            self._send(lambda stream: stream.offer(_event_chunk(event.seq, payload), event.seq))

    def set_state(self, camera: str, state: CameraState) -> None:
        """Replace the state of a camera and show it. Raises ValueError for one that has no JSON form."""
        now = json.loads(state_to_json(state))
        with self._lock:
            self._states[camera] = now
        self.show("state", lambda: {"camera": camera, **now})

    def set_available(self, camera: str, available: bool) -> None:
        """Replace whether a camera is available and show it."""
        with self._lock:
            self._available[camera] = available
        self.show("availability", lambda: {"camera": camera, "available": available})

    def set_feature(self, camera: str, feature: str, value: Any) -> None:
        """Replace the value in effect of a feature of a camera."""
        with self._lock:
            self._features.setdefault(camera, {})[feature] = value

    def set_stats(self, stats: Mapping[str, Any]) -> None:
        """Replace the last statistics and show them."""
        self.stats = stats
        self.show("stats", lambda: stats)

    def show(self, kind: str, data: Callable[[], Mapping[str, Any]]) -> None:
        """Send a message to every stream; ``data`` is only called, by the server, if there is one."""
        if self._streams:
            self._send_built(kind, data)

    # By the server.

    def serve_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the loop in which streams are read; before the first one is opened."""
        self._loop = loop

    def cameras(self) -> dict[str, dict[str, Any]]:
        """Camera -> whether it is available, and its features."""
        with self._lock:
            return {
                name: {"available": available, **self._features.get(name, {})}
                for name, available in self._available.items()
            }

    def states(self) -> dict[str, dict[str, Any]]:
        """Camera -> its state as on its topic, and whether it is available."""
        with self._lock:
            states, available = dict(self._states), dict(self._available)
        return {name: {**states.get(name, NO_STATE), "available": online} for name, online in available.items()}

    def events(self, since: int | None, limit: int) -> dict[str, Any]:
        """The oldest ``limit`` of the events after number ``since``, or the newest ones without it."""
        with self._lock:
            kept = list(self._events)
        found = [payload for seq, payload in kept if since is None or seq > since]
        chosen = found[-limit:] if since is None else found[:limit]
        return {
            "events": [json.loads(payload) for payload in chosen],
            "oldest": kept[0][0] if kept else None,
            "newest": kept[-1][0] if kept else None,
        }

    def subscribe(self, since: int | None) -> Stream:
        """A stream that begins with the events after number ``since``. Raises TooManyStreams."""
        with self._lock:
            if len(self._streams) >= MAX_STREAMS:
                raise TooManyStreams
            kept = list(self._events)
            stream = Stream(_replay(kept, since), kept[-1][0], None) if kept else Stream([], -1, since)
            self._streams = (*self._streams, stream)
        return stream

    def unsubscribe(self, stream: Stream) -> None:
        """Forget a stream."""
        with self._lock:
            self._streams = tuple(one for one in self._streams if one is not stream)

    def end_streams(self) -> None:
        """End every stream; from any thread."""
        self._send(Stream.end)

    def _send_built(self, kind: str, data: Callable[[], Mapping[str, Any]]) -> None:
        def offer_all() -> None:
            chunk = chunk_of(kind, to_json(data()))
            for stream in self._streams:
                stream.offer(chunk)

        self._in_server(offer_all)

    def _send(self, act: Callable[[Stream], None]) -> None:
        def act_on_all() -> None:
            for stream in self._streams:
                act(stream)

        self._in_server(act_on_all)

    def _in_server(self, call: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(call)


def chunk_of(kind: str, data: bytes) -> bytes:
    """One message of a text/event-stream without a number."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _event_chunk(seq: int, payload: bytes) -> bytes:
    return b"id: %d\n%b" % (seq, chunk_of("event", payload))


def _gap(since: int | None, first: int) -> bytes:
    """A message about the events between ``since`` and ``first``; nothing for a viewer that has had none."""
    return chunk_of("gap", to_json({"from": since + 1, "to": first - 1})) if since and first > since + 1 else b""


def _replay(kept: Sequence[tuple[int, bytes]], since: int | None) -> list[bytes]:
    """The events after ``since``, after a message about those that are no longer kept; none without ``since``."""
    if since is None:
        return []
    chunks = [_gap(since, kept[0][0]), *(_event_chunk(seq, payload) for seq, payload in kept if seq > since)]
    return [chunk for chunk in chunks if chunk]

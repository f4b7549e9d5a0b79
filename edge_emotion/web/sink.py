"""The page of a daemon as a sink of its events, a channel of its status, and a tap of its frames."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edge_emotion.config.web_settings import WebSettings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.datatypes import CameraState, EmotionEvent
from edge_emotion.errors import BackendUnavailable, EdgeEmotionError
from edge_emotion.web.live import LiveState
from edge_emotion.web.tap import FrameTap, Preview

if TYPE_CHECKING:
    from edge_emotion.web.server import PageServer

log = logging.getLogger(__name__)

MISSING = "pip install 'edge-emotion[web]'"


class PageSink:
    """Serves the page while the daemon runs. Whatever fails there is logged, and the daemon goes on without a page."""

    def __init__(self, web: WebSettings, on_open: Callable[[str], None] | None = None) -> None:
        """``on_open`` gets the address of the page when it is served."""
        self.live = LiveState()
        self.failure: str | None = None
        """Why there is no page; None while there is one."""
        self._web, self._on_open = web, on_open
        self._preview = Preview() if web.preview else None
        self._tap = FrameTap(self.live, self._preview)
        self._server: PageServer | None = None
        self._start: Callable[[], PageServer] | None = None

    def connect(self, daemon: Daemon, control: Control) -> None:
        """Show this daemon; before ``open``."""
        daemon.on_frame.append(self.on_frame)
        self._start = lambda: _serve(self._web, self.live, self._preview, daemon, control)

    def check(self) -> None:
        """Never raises: the daemon runs without its page, too."""

    def open(self) -> None:
        """Start the server in a thread of its own."""
        assert self._start is not None, "connect comes first"
        try:
            self._server = self._start()
        except (EdgeEmotionError, OSError) as error:
            self.failure = str(error)
            log.error("there is no page: %s", error)
        else:
            log.info("the page is at %s", self._server.url)
            if self._on_open is not None:
                self._on_open(self._server.url)

    def on_frame(self, camera: Camera) -> None:
        """Called in the main loop after each frame."""
        if self._server is not None:
            self._server.metrics.count_frame(camera, time.monotonic() - camera.captured)
            self._tap(camera)

    def publish(self, event: EmotionEvent) -> None:
        """Keep and show an event."""
        try:
            self.live.add_event(event)
        except ValueError as error:
            log.error("event %s has no JSON form (%s) and is not shown", event.id, error)
            return
        if self._server is not None:
            self._server.metrics.count_event(event)

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Keep and show the state of a camera."""
        try:
            self.live.set_state(camera, state)
        except ValueError as error:
            log.error("the state of camera %s has no JSON form (%s) and is not shown", camera, error)

    def camera_available(self, camera: str, available: bool) -> None:
        """Keep and show whether a camera is available."""
        self.live.set_available(camera, available)

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str], _device: Mapping[str, Any] | None) -> None:
        """Keep the node's info."""
        self.live.describe(info, cameras)

    def feature_state(self, camera: str, feature: str, payload: bytes) -> None:
        """Keep the value of a feature."""
        self.live.set_feature(camera, feature, payload == b"ON" if feature == "enabled" else json.loads(payload))

    def report(self, stats: Mapping[str, Any]) -> None:
        """Keep and show statistics."""
        self.live.set_stats(stats)

    def info(self) -> dict[str, Any]:
        """The key ``web`` of the node's info: where the page is, or why there is none."""
        return {"listen": self._web.listen, "failure": self.failure}

    def close(self) -> None:
        """Stop the server; may be called twice."""
        if self._server is not None:
            self._server.stop()


def require_extra() -> None:
    """Raises BackendUnavailable if the libraries of the extra are not installed."""
    try:
        import edge_emotion.web.server  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(f"the page needs {error.name}: {MISSING}") from error


def _serve(web: WebSettings, live: LiveState, preview: Preview | None, daemon: Daemon, control: Control) -> PageServer:
    """A server that runs. Raises BackendUnavailable, ConfigError."""
    require_extra()
    from edge_emotion.web.server import serve_daemon

    return serve_daemon(web, live, preview, daemon, control)

"""What the routes answer from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edge_emotion.config.web_settings import WebSettings
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.web.access import Access
from edge_emotion.web.live import LiveState
from edge_emotion.web.metrics import Metrics
from edge_emotion.web.tap import Preview

WATCHDOG = 60.0
"""Seconds without a sign of life of the main loop after which it is not healthy: WatchdogSec of the systemd unit."""


@dataclass(frozen=True, slots=True)
class Node:
    """The daemon whose page it is."""

    daemon: Daemon
    control: Control

    @property
    def healthy(self) -> bool:
        """Whether systemd's watchdog is fed."""
        return time.monotonic() - self.daemon.healthy_at < WATCHDOG

    @property
    def ready(self) -> bool:
        """Whether every camera that is switched on gives frames."""
        return self.healthy and all(camera.status in ("online", "disabled") for camera in list(self.daemon.cameras))


@dataclass(frozen=True, slots=True)
class Site:
    """Everything behind the routes. ``node`` and ``preview`` are None without a daemon, or without that setting."""

    settings: WebSettings
    access: Access
    live: LiveState
    metrics: Metrics
    examine: Callable[[], dict[str, Any]]
    node: Node | None = None
    preview: Preview | None = None

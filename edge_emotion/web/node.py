"""The daemon whose page it is."""

from __future__ import annotations

import time
from dataclasses import dataclass

from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon

WATCHDOG = 60.0
"""Seconds without a sign of life of the main loop after which it is not healthy: WatchdogSec of the systemd unit."""


@dataclass(frozen=True, slots=True)
class Node:
    """A daemon and its control, as the thread of the server may use them."""

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

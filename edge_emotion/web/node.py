"""The daemon whose page it is."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from edge_emotion.config.redaction import HIDDEN, redact
from edge_emotion.daemon.control import Control
from edge_emotion.daemon.daemon import Daemon

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)

WATCHDOG = 60.0
"""Seconds without a sign of life of the main loop after which it is not healthy: WatchdogSec of the systemd unit."""


@dataclass(frozen=True, slots=True)
class Node:
    """A daemon and its control, as the thread of the server may use them."""

    daemon: Daemon
    control: Control

    def without_addresses(self, text: str) -> str:
        """A text of the doctor or of an error without the addresses of cameras: nobody at the page needs them."""
        for camera in self.control.settings.cameras.values():
            if _ADDRESS.match(camera.source):
                shown = redact(camera.source)
                host = _ADDRESS.sub("", shown).rpartition("@")[2].split("/")[0]
                for part in (shown, host, host.rpartition(":")[0]):
                    text = text.replace(part, HIDDEN) if part else text
        return text

    @property
    def healthy(self) -> bool:
        """Whether systemd's watchdog is fed."""
        return time.monotonic() - self.daemon.healthy_at < WATCHDOG

    @property
    def ready(self) -> bool:
        """Whether every camera that is switched on gives frames."""
        return self.healthy and all(camera.status in ("online", "disabled") for camera in list(self.daemon.cameras))

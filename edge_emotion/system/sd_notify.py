"""Telling systemd how we are: the sd_notify protocol (man sd_notify), which is one datagram."""

from __future__ import annotations

import contextlib
import os
import socket
import time


def notify(state: str) -> None:
    """Send ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``; does nothing when not run by systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # Being told is systemd's wish; that it cannot hear, or does not listen, is no reason for the daemon to stop.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0.1)
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


class Watchdog:
    """The watchdog of the unit, fed twice in its time (``WATCHDOG_USEC``, man sd_watchdog_enabled) or once a second.

    Without one a sign of life goes out each second all the same, for whoever listens in systemd's place.
    """

    def __init__(self) -> None:
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        self._interval = min(1.0, int(microseconds) / 2e6) if microseconds.isdecimal() else 1.0
        self._fed = float("-inf")

    def feed(self) -> None:
        """Say that there was progress; sends only what is due."""
        now = time.monotonic()
        if now - self._fed >= self._interval:
            self._fed = now
            notify("WATCHDOG=1")

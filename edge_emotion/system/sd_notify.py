"""Status messages to systemd: the sd_notify protocol (man sd_notify), one datagram each."""

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
    # A message that systemd cannot receive is no reason for the daemon to stop.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(0.1)
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


class Watchdog:
    """Keep-alive messages for the unit's watchdog, two in each of its periods (``WATCHDOG_USEC``) or one a second.

    See man sd_watchdog_enabled. Without a watchdog they are sent once a second, for other service managers.
    """

    def __init__(self) -> None:
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        self._interval = min(1.0, int(microseconds) / 2e6) if microseconds.isdecimal() else 1.0
        self._fed = float("-inf")

    def feed(self) -> None:
        """Report progress; a message is sent only when one is due."""
        now = time.monotonic()
        if now - self._fed >= self._interval:
            self._fed = now
            notify("WATCHDOG=1")

"""First process of the container: supervises the daemon as systemd does, by the same protocol (man sd_notify).

``python3 supervise.py COMMAND...`` runs the daemon, forwards signals, and ends it when it sends no watchdog message for
too long; the container's restart policy starts it again. ``python3 supervise.py --healthy`` is for HEALTHCHECK.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(os.environ.get("SUPERVISE_DIR", "/run/edge-emotion"))
"""Writable folder in memory for the socket and a file with the time of the last message, monotonic seconds."""

PATIENCE = float(os.environ.get("WATCHDOG_SECONDS", "60"))
"""Seconds without a message after which a daemon that was ready counts as hung."""

STOP_TIMEOUT = 30.0
"""Seconds without a message after which a daemon that is stopping is killed."""


def main(arguments: Sequence[str]) -> int:
    """The daemon's exit code; 1 if it was ended because it hung, 128 + n if signal n ended it."""
    if list(arguments) == ["--healthy"]:
        return 0 if _seconds_without_message() < PATIENCE else 1
    if not arguments:
        print("usage: supervise.py COMMAND... or supervise.py --healthy", file=sys.stderr)
        return 2
    return _supervise(arguments)


def _supervise(command: Sequence[str]) -> int:
    _last_message_file().unlink(missing_ok=True)
    last, stopping = None, False
    with _listen() as channel:
        daemon = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": str(FOLDER / "notify")})
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: daemon.send_signal(received))
        while daemon.poll() is None:
            lines = _receive(channel)
            if lines:
                last = time.monotonic()
                _store(last)
            stopping = stopping or "STOPPING=1" in lines
            if last is not None and time.monotonic() - last > (STOP_TIMEOUT if stopping else PATIENCE):
                return _kill(daemon, "does not end" if stopping else "hangs")
    return daemon.returncode if daemon.returncode >= 0 else 128 - daemon.returncode


def _listen() -> socket.socket:
    path = FOLDER / "notify"
    path.unlink(missing_ok=True)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(path))
    channel.settimeout(0.5)
    return channel


def _receive(channel: socket.socket) -> list[str]:
    """Lines that the daemon sends within half a second; empty if there are none."""
    try:
        return channel.recv(4096).decode(errors="replace").splitlines()
    except TimeoutError:
        return []


def _kill(daemon: subprocess.Popen[bytes], reason: str) -> int:
    print(f"supervise: the daemon {reason}: killed, so that it is started again", file=sys.stderr, flush=True)
    daemon.kill()
    daemon.wait()
    return 1


def _last_message_file() -> Path:
    return FOLDER / "alive"


def _store(moment: float) -> None:
    aside = FOLDER / "alive.part"
    aside.write_text(str(moment), encoding="ascii")
    aside.replace(_last_message_file())


def _seconds_without_message() -> float:
    """Seconds since the last message, by the monotonic clock; infinite before the first one."""
    try:
        return time.monotonic() - float(_last_message_file().read_text(encoding="ascii"))
    except FileNotFoundError:
        return float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

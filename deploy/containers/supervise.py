"""First process of the container: what systemd does for the daemon elsewhere, by the same protocol (man sd_notify).

``python3 supervise.py COMMAND...`` runs it, passes signals on, and ends it when it says that it works no more or falls
silent; the container's restart policy starts it again. ``python3 supervise.py --healthy`` is for HEALTHCHECK.
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
"""Writable and in memory: the socket, and a file with the monotonic seconds of the last sign of life."""

PATIENCE = float(os.environ.get("WATCHDOG_SECONDS", "60"))
"""Seconds of silence after which a daemon that was ready is taken for hung."""

STOP_TIMEOUT = 30.0
"""Seconds of silence after which a daemon that said that it is stopping is killed."""


def main(arguments: Sequence[str]) -> int:
    """The daemon's exit code; 1 if it was ended because it hung, 128 + n if signal n ended it."""
    if list(arguments) == ["--healthy"]:
        return 0 if _silence() < PATIENCE else 1
    if not arguments:
        print("usage: supervise.py COMMAND... or supervise.py --healthy", file=sys.stderr)
        return 2
    return _supervise(arguments)


def _supervise(command: Sequence[str]) -> int:
    _sign_of_life().unlink(missing_ok=True)
    heard, stopping = None, False
    with _listen() as channel:
        daemon = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": str(FOLDER / "notify")})
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda received, _: daemon.send_signal(received))
        while daemon.poll() is None:
            told = _hear(channel)
            if told:
                heard = time.monotonic()
                _remember(heard)
            stopping = stopping or "STOPPING=1" in told
            if heard is not None and time.monotonic() - heard > (STOP_TIMEOUT if stopping else PATIENCE):
                return _kill(daemon, "does not end" if stopping else "hangs")
    return daemon.returncode if daemon.returncode >= 0 else 128 - daemon.returncode


def _listen() -> socket.socket:
    path = FOLDER / "notify"
    path.unlink(missing_ok=True)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(path))
    channel.settimeout(0.5)
    return channel


def _hear(channel: socket.socket) -> list[str]:
    """What the daemon says within half a second; nothing is an answer too."""
    try:
        return channel.recv(4096).decode(errors="replace").splitlines()
    except TimeoutError:
        return []


def _kill(daemon: subprocess.Popen[bytes], reason: str) -> int:
    print(f"supervise: the daemon {reason}: killed, so that it is started again", file=sys.stderr, flush=True)
    daemon.kill()
    daemon.wait()
    return 1


def _sign_of_life() -> Path:
    return FOLDER / "alive"


def _remember(moment: float) -> None:
    aside = FOLDER / "alive.part"
    aside.write_text(str(moment), encoding="ascii")
    aside.replace(_sign_of_life())


def _silence() -> float:
    """Seconds since the daemon was last heard of, by a clock that nobody sets; endless before the first time."""
    try:
        return time.monotonic() - float(_sign_of_life().read_text(encoding="ascii"))
    except FileNotFoundError:
        return float("inf")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The real daemon in a subprocess, started for the time of a measurement."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from edge_emotion.errors import EdgeEmotionError

NODE = "benchmark"
"""The daemon's node name in MQTT topics."""
STOP_TIMEOUT = 30.0

"""Seconds that the daemon may take to stop."""


class DaemonProcess:
    """A daemon subprocess that runs with ``settings``; configuration, state and log lie in ``folder``."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._log = folder / "daemon.log"
        config = folder / "edge-emotion.yaml"
        config.write_text(yaml.safe_dump({"node": NODE, "state_dir": str(folder / "state"), **settings}))
        self.started = time.monotonic()
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "edge_emotion", "run", "--config", str(config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        """The content of the log so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def last_log_line(self) -> str:
        """The last line of the log."""
        return "".join(self.log.strip().splitlines()[-1:])

    def check(self) -> None:
        """Raises EdgeEmotionError with the last line of the log if the daemon has ended."""
        if self.process.poll() is not None:
            raise EdgeEmotionError(f"the daemon has ended with {self.process.returncode}: {self.last_log_line}")

    def stop(self) -> None:
        """Terminate the daemon; kill it after STOP_TIMEOUT seconds."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running_daemon(folder: Path, settings: Mapping[str, Any]) -> Iterator[DaemonProcess]:
    """A daemon process that is stopped at the end of the block."""
    daemon = DaemonProcess(folder, settings)
    try:
        yield daemon
    finally:
        daemon.stop()

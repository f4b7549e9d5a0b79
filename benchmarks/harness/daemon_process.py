"""The real daemon in a process of its own, for as long as something is measured on it."""

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
"""Its name in topics."""
STOP_TIMEOUT = 30.0


class Node:
    """A daemon that runs with ``settings``; its log is ``log``."""

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
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def last_words(self) -> str:
        """The last line of its log."""
        return "".join(self.log.strip().splitlines()[-1:])

    def check(self) -> None:
        """Raises EdgeEmotionError with its last words if it has ended."""
        if self.process.poll() is not None:
            raise EdgeEmotionError(f"the daemon has ended with {self.process.returncode}: {self.last_words}")

    def stop(self) -> None:
        """End it in order, or by force after STOP_TIMEOUT seconds."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(folder: Path, settings: Mapping[str, Any]) -> Iterator[Node]:
    """A node for the time of the block."""
    node = Node(folder, settings)
    try:
        yield node
    finally:
        node.stop()

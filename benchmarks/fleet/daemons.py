"""Real daemons beside the simulated nodes: the recording that ships, in a loop, through the shipped models."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from benchmarks.fleet.node import CAMERA, PREFIX, Made
from benchmarks.fleet.servers import START, Program
from benchmarks.harness.wait import wait_until
from edge_emotion.mqtt.local_broker import HOST

RECORDING = Path(__file__).parents[2] / "edge_emotion" / "demo.mp4"
"""Ten seconds; one face comes, stays for six, and goes."""

FRAMES = 2.0
"""Frames a second of each daemon, for twenty of them on two cores."""

DRAIN = 60.0
"""Seconds, at most, in which a daemon that stops delivers its events."""


class Daemon(Program):
    """``edge-emotion run`` as the node ``name``; a JSONL file beside the broker keeps what it has made."""

    def __init__(self, name: str, folder: Path, ports: Sequence[int], protocol: str, **settings: Any) -> None:
        self.name, self._state, self._lines = name, folder / f"{name}-state", folder / f"{name}.jsonl"
        config = folder / f"{name}.yaml"
        mqtt = {
            "hosts": [f"{HOST}:{port}" for port in ports],
            "protocol": protocol,
            "prefix": PREFIX,
            "profile": "fleet",
            "reconnect_spread": 2.0,
            "drain_timeout": DRAIN,
        }
        camera = {"source": str(RECORDING), "loop": True, "max_fps": FRAMES}
        base = {
            "node": name,
            "state_dir": str(self._state),
            "cameras": {CAMERA: camera},
            "classifier": {"model": "tiny"},
            "tracking": {"max_gap": 2.0},
            "mqtt": mqtt,
            "jsonl": {"path": str(self._lines)},
        }
        config.write_text(yaml.safe_dump(base | settings), encoding="utf-8")
        super().__init__(name, [sys.executable, "-m", "edge_emotion", "run", "--config", config], folder)

    def wait_ready(self) -> None:
        """Until it is connected. Raises EdgeEmotionError."""
        wait_until(self._connected, f"the daemon {self.name} does not connect", patience=2 * START, pause=0.1)

    @property
    def made(self) -> list[Made]:
        """Events so far, by number, as it has written them into its file."""
        text = self._lines.read_text(encoding="utf-8") if self._lines.exists() else ""
        return [_made(json.loads(line)) for line in text.splitlines()]

    @property
    def unacknowledged(self) -> frozenset[int]:
        """Numbers of the events in its outbox, after it has ended."""
        with closing(sqlite3.connect(f"file:{self._state / self.name}.outbox.db?mode=ro", uri=True)) as outbox:
            rows = outbox.execute("SELECT payload FROM event WHERE payload IS NOT NULL")
            return frozenset(json.loads(payload)["seq"] for (payload,) in rows)

    def _connected(self) -> bool:
        self.check()
        return b"connected to" in self.log.read_bytes()


def _made(event: dict[str, Any]) -> Made:
    return Made(event["id"], event["type"], event["emotion"], event["previous"], event["track"]["id"])

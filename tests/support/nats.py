"""A real nats-server with JetStream and MQTT 3.1.1 on free loopback ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from support.broker import free_port, wait_until

NATS = shutil.which("nats-server", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

needs_nats = pytest.mark.skipif(
    NATS is None, reason="nats-server is not installed: apt-get install --no-install-recommends nats-server"
)


class NatsServer:
    """One server; its streams, sessions and retained messages survive ``kill`` and ``start``."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder, self._process = folder, None
        self._config = folder / "nats.conf"
        # After ack_wait it sends again what is not acknowledged.
        self._config.write_text(
            f"server_name: one\nlisten: 127.0.0.1:{free_port()}\njetstream {{ store_dir: {folder}/jetstream }}\n"
            f'mqtt {{ listen: 127.0.0.1:{self.port}, ack_wait: "1s" }}\n',
            encoding="utf-8",
        )

    def start(self) -> NatsServer:
        """Start; returns when it accepts MQTT clients."""
        assert NATS is not None
        with (self._folder / "nats.log").open("ab") as log:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [NATS, "-c", str(self._config)], stdout=log, stderr=log
            )
        wait_until(self._accepts)
        return self

    def kill(self) -> None:
        """End it without a chance to send or save anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _accepts(self) -> bool:
        with socket.socket() as sock:
            sock.settimeout(1.0)
            return sock.connect_ex(("127.0.0.1", self.port)) == 0

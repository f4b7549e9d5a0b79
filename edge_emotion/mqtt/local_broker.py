"""Brokers on this machine for the demo: mosquitto, or amqtt in pure Python."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_emotion.errors import BackendUnavailable, SinkError

HOST = "127.0.0.1"
START_TIMEOUT = 10.0


def find_mosquitto() -> str | None:
    """Path of the mosquitto program; None if it is not installed. On Debian it is in /usr/sbin."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A free TCP port of this machine."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _await_port(port: int, alive: Any) -> bool:
    """True when the port accepts connections; False if ``alive()`` becomes false or START_TIMEOUT has passed."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline and alive():
        try:
            socket.create_connection((HOST, port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


@contextmanager
def mosquitto(executable: str, port: int) -> Iterator[None]:
    """Run mosquitto on HOST during the block, without login, for this machine only. Raises SinkError."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} {HOST}\nallow_anonymous true\npersistence false\nlog_type none\n")
        # In its own session: Ctrl-C in the terminal must stop the daemon first, which still needs the broker.
        process = subprocess.Popen(
            [executable, "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            if not _await_port(port, lambda: process.poll() is None):
                raise SinkError(f"the demo's broker did not start: {executable} -c {config}")
            yield
        finally:
            process.terminate()
            process.wait(START_TIMEOUT)


@contextmanager
def amqtt_broker(port: int) -> Iterator[None]:
    """Run amqtt, a broker in pure Python, in a thread with its own event loop. Raises BackendUnavailable."""
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise BackendUnavailable(
            "the demo needs a broker: install mosquitto (apt install mosquitto), or pip install amqtt"
        ) from error
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo-broker", daemon=True)
    thread.start()

    def call(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(START_TIMEOUT)

    async def start() -> Any:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listener = {"type": "tcp", "bind": f"{HOST}:{port}"}
        broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
        await broker.start()
        return broker

    broker = call(start())
    try:
        yield
    finally:
        call(broker.shutdown())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_TIMEOUT)

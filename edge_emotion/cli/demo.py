"""The whole chain in one command: a broker, the real daemon on the bundled clip, a subscriber that prints events."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import AbstractContextManager
from pathlib import Path

from edge_emotion.app import make_daemon
from edge_emotion.cli.event_formats import item_as_text
from edge_emotion.cli.shown_page import page_settings
from edge_emotion.client import AvailabilityReceived, Client
from edge_emotion.config.loader import load
from edge_emotion.mqtt.local_broker import HOST, START_TIMEOUT, amqtt_broker, find_mosquitto, free_port, mosquitto

CLIP = Path(__file__).parent.parent / "demo.mp4"


def demo(source: str | None = None, *, seconds: float | None = None, web: bool = False) -> None:
    """Run the demo on the bundled clip, or on ``source`` for ``seconds``; with ``web`` with a page, over and over.

    Raises SourceError if the source cannot be read, BackendUnavailable if the page needs a library.
    """
    page = page_settings() if web else {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)  # until the daemon handles them: the broker must not outlive this process
    port = free_port()
    executable = find_mosquitto()
    broker: AbstractContextManager[object] = mosquitto(executable, port) if executable else amqtt_broker(port)
    # amqtt never answers an MQTT 5 CONNECT.
    options = {"host": HOST, "port": port, "protocol": "5" if executable else "3.1.1"}
    with tempfile.TemporaryDirectory() as state, broker:
        print(f"broker: {'mosquitto' if executable else 'amqtt'} on {HOST}:{port}")
        print(f"source: {source or 'the bundled clip'} (classified on this machine; only events leave the process)")
        settings = load(
            None,
            {
                "node": "demo",
                "cameras": {"camera": {"source": source or str(CLIP), "loop": web and source is None}},
                "mqtt": options,
                "state_dir": state,
                **page,
            },
            environment=False,  # the demo is the same for everybody
        )
        if settings.web is not None:
            print(f"page: http://{settings.web.listen}/")
        daemon = make_daemon(settings, fail_fast=True)
        daemon.handle_signals()
        timer = threading.Timer(seconds, daemon.stop) if seconds else None
        assert settings.mqtt is not None
        with Client(settings.mqtt, node="demo") as client:
            printer = threading.Thread(target=_print_all, args=(client,), daemon=True)
            printer.start()
            if timer:
                timer.start()
            try:
                summary = daemon.run()
            finally:
                if timer:
                    timer.cancel()
            printer.join(START_TIMEOUT)
    print(f"summary: {summary}")


def _stop(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _print_all(client: Client) -> None:
    """Print all items until the node itself was online and is offline again."""
    online = False
    for item in client.items():
        try:
            for line in item_as_text(item):
                print(line, flush=True)
        except OSError:  # the reader has gone; the main thread gets this error, too
            return
        if isinstance(item, AvailabilityReceived) and item.camera is None:
            if online and not item.online:
                return
            online = bool(item.online)

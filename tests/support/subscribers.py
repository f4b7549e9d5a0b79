"""What the tests of the client and of ``subscribe`` share: raw publications, clients, and processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt.client import Client as Paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_emotion.client import Client, Item, broker_settings
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.wire.payloads import event_to_json
from support.broker import Broker, wait_until
from support.mqtt_stage import ROOT, TIMING
from support.paths import ROOT as CHECKOUT


def publish_raw(broker: Broker, *messages: tuple[str, bytes], retain: bool = False) -> None:
    """Publish below the node pi5 with QoS 1, without any of our code; returns when the broker has them."""
    client = Paho(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    for topic, payload in messages:
        client.publish(f"{ROOT}/{topic}", payload, qos=1, retain=retain).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def publish_events(broker: Broker, events: Iterable[EmotionEvent]) -> None:
    """Publish events as their node would."""
    publish_raw(broker, *((f"{event.camera}/events", event_to_json(event)) for event in events))


def client_of(broker: Broker, **options: Any) -> Client:
    """A client that tries again soon."""
    settings = {"port": broker.port, **options.pop("settings", {})}
    return Client(broker_settings("127.0.0.1", **settings), timing=options.pop("timing", TIMING), **options)


def numbers(client: Client, count: int, timeout: float = 20.0, **options: Any) -> list[int]:
    """Numbers of the next ``count`` events; fewer if one takes longer than ``timeout``."""
    taken: list[int] = []
    for event in client.events(timeout, **options):
        taken.append(event.seq)
        if len(taken) == count:
            break
    return taken


def items_until(client: Client, enough: Callable[[Item], bool]) -> list[Item]:
    """Items up to the first that is ``enough``."""
    taken: list[Item] = []
    for item in client.items(20.0):
        taken.append(item)
        if enough(item):
            return taken
    raise AssertionError(f"only {taken} came")


class Collector:
    """Takes events in a thread of its own until its client is closed."""

    def __init__(self, client: Client) -> None:
        self.seqs: list[int] = []
        self._client = client
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        """Close the client; fails if the iteration does not end by that."""
        self._client.close()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for event in self._client.events():
            self.seqs.append(event.seq)


def start_python(broker: Broker, *arguments: str, subscriptions: int = 1, **environment: str) -> subprocess.Popen[str]:
    """A Python process that subscribes to the broker; returns when it has."""
    before = broker.log.count("Sending SUBACK")
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(CHECKOUT),
            "EDGE_EMOTION_MQTT__HOST": "127.0.0.1",
            "EDGE_EMOTION_MQTT__PORT": str(broker.port),
            **environment,
        },
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    try:
        wait_until(lambda: broker.log.count("Sending SUBACK") >= before + subscriptions or process.poll() is not None)
    except BaseException:
        process.kill()
        raise
    return process


def finish(process: subprocess.Popen[str], number: signal.Signals | None = signal.SIGINT) -> tuple[int, str, str]:
    """Send the signal, if any, and return exit code, output and errors."""
    try:
        if number is not None:
            process.send_signal(number)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, out, err

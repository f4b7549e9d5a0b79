"""Check of a running daemon: whether it is connected to its broker, and whether events wait longer than they should."""

from __future__ import annotations

import secrets
import time
from contextlib import closing

from edge_emotion.config.settings import MqttSettings, Settings
from edge_emotion.doctor.report import Finding
from edge_emotion.mqtt.connection import Connection
from edge_emotion.mqtt.handshake import establish, wait_for
from edge_emotion.mqtt.timing import Timing
from edge_emotion.mqtt.wakeup import Wakeup
from edge_emotion.outbox.node_lock import read_copy
from edge_emotion.outbox.recovery import StateFiles
from edge_emotion.wire.payloads import ONLINE
from edge_emotion.wire.topics import Topics

_LOG = "read why in its log: journalctl -u edge-emotion; sudo systemctl restart edge-emotion starts it anew"


def delivery(settings: Settings, mqtt: MqttSettings, timing: Timing | None = None, *, pause: float = 2.0) -> Finding:
    """Whether the daemon that runs as this node is online for others, and whether its outbox empties.

    With several brokers it is enough that it is online at one. Events that still wait after ``pause`` s are stuck: they
    take some milliseconds. Raises ConfigError or SinkError for files that cannot be read.
    """
    topic = Topics(mqtt.prefix, settings.node).availability
    for each in mqtt.brokers:
        fault = _fault(each, topic, timing or Timing(), _waiting(settings))
        if fault is None:
            break
    if fault is not None:
        return Finding("fail", fault, _LOG)
    if _count(settings):
        time.sleep(pause)
    detail = f"the daemon is online on {topic}: {_waiting(settings)}"
    return Finding("warn", detail, _LOG) if _count(settings) else Finding("ok", detail)


def _fault(mqtt: MqttSettings, topic: str, timing: Timing, waiting: str) -> str | None:
    """Why the node is not online at this broker; None if it is."""
    connection = Connection(mqtt, f"edge-emotion-doctor-{secrets.token_hex(4)}", None)
    with closing(connection), closing(Wakeup()) as wakeup:
        failure = establish(connection, wakeup, timing)
        if failure is not None:
            return f"no event can leave ({waiting}): the broker {failure.reason}"
        connection.subscribe([topic], retained=True)
        found: list[bytes] = []

        def answered() -> bool:
            found.extend(message.payload for message in connection.take_messages() if message.topic == topic)
            return bool(found)

        wait_for(connection, wakeup, min(2.0, timing.answer), answered)
        if connection.alive:
            connection.disconnect()
    if not found:
        return f"the daemon runs, and the broker has nothing on {topic}: {waiting}"
    return None if found[-1] == ONLINE else f"the daemon runs, and is offline on {topic}: {waiting}"


def _count(settings: Settings) -> int | None:
    """Events that wait in the outbox; None if that cannot be read."""
    try:
        copy = read_copy(StateFiles(settings.state_path, settings.node).lock)
    except (OSError, ValueError):
        return None
    return None if copy is None else copy.waiting


def _waiting(settings: Settings) -> str:
    count = _count(settings)
    return "how many events wait cannot be read" if count is None else f"{count} events wait"

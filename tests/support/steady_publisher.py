"""A program that counts and publishes as the daemon does, for tests that kill it.

    python steady_publisher.py PORT STATE_DIR EVENTS_PER_SECOND LOG

Each line of LOG is the ``seq`` and ``id`` of an event that is handed over next. SIGTERM stops it cleanly.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from edge_emotion.config.settings import MqttSettings
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.mqtt.sink import MqttSink, Timing
from edge_emotion.wire.ulid import ulid
from support.samples import event

CAMERAS = ("desk", "hall", "door")


def main(port: int, state: Path, rate: float, log: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    numbers = EventCounter(state, "pi5")
    settings = MqttSettings(host="127.0.0.1", port=port, drain_timeout=30.0).model_copy(update={"keepalive": 1})
    timing = Timing(connect=1.0, answer=1.0, first_retry=0.05, longest_retry=0.5)
    sink = MqttSink(settings, "pi5", {}, CAMERAS, timing, state_dir=numbers.folder, numbers=numbers)
    sink.open()
    intended = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due += 1 / rate
        now, seq = datetime.now(timezone.utc), numbers()
        numbers.save()
        identity, camera = ulid(now), CAMERAS[seq % len(CAMERAS)]
        os.write(intended, f"{seq} {identity}\n".encode())
        sink.publish(replace(event(seq), ts=now, id=identity, camera=camera, track_id=f"track-{camera}"))
    sink.close()
    numbers.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))

"""Events through the daemon's own outbox and MQTT client, to a broker."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from benchmarks.harness.wait import wait_until
from edge_emotion.config.settings import MqttSettings
from edge_emotion.datatypes import Box, EmotionEvent
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.labels import EMOTIONS
from edge_emotion.mqtt.local_broker import HOST
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.sinks.mqtt.sink import MqttSink
from edge_emotion.wire.ulid import ulid

POLL = 0.0001
"""Seconds between two looks whether an event was acknowledged."""
PATIENCE = 10.0
"""Seconds for the broker to be there, and to acknowledge an event."""

UNACKNOWLEDGED = "the broker has not acknowledged an event"


class Publisher:
    """What the daemon does to publish one event: number it, save the number, hand it to the durable MQTT sink."""

    def __init__(self, event: EmotionEvent, folder: Path, port: int) -> None:
        self._event, self._numbers = event, EventCounter(folder, "benchmark")
        settings = MqttSettings(host=HOST, port=port, drain_timeout=30.0)
        self.sink = MqttSink(settings, "benchmark", {}, ["clip"], state_dir=self._numbers.folder, numbers=self._numbers)

    def __enter__(self) -> Publisher:
        self.sink.open()
        try:
            wait_until(lambda: self.sink.connected, "no connection to the broker", patience=PATIENCE)
        except EdgeEmotionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.close()
        self._numbers.close()

    def drain(self, most: int = 0, *, pause: float = POLL) -> None:
        """Return when at most so many events wait. Raises EdgeEmotionError if none is acknowledged for PATIENCE s."""
        while (waiting := self.sink.waiting) > most:
            wait_until(partial(self._fewer_than, waiting), UNACKNOWLEDGED, patience=PATIENCE, pause=pause)

    def _fewer_than(self, waiting: int) -> bool:
        return self.sink.waiting < waiting

    def publish(self) -> float:
        """One event; the seconds that the caller was kept."""
        moment = datetime.now(timezone.utc)
        begin = time.perf_counter()
        event = replace(self._event, seq=self._numbers(), id=ulid(moment), ts=moment)
        self._numbers.save()
        self.sink.publish(event)
        return time.perf_counter() - begin

    def deliver(self) -> tuple[float, float]:
        """One event; the seconds that the caller was kept, and those until the broker has acknowledged it (PUBACK).

        Nothing else may wait. Raises EdgeEmotionError after PATIENCE seconds.
        """
        begin = time.perf_counter()
        kept = self.publish()
        self.drain()
        return kept, time.perf_counter() - begin


def usual_event() -> EmotionEvent:
    """One of the usual size; ``Publisher`` gives it number, name and time."""
    now = datetime.now(timezone.utc)
    return EmotionEvent(
        type="change",
        id="",
        seq=0,
        node="benchmark",
        camera="clip",
        ts=now,
        emotion=EMOTIONS[1],
        confidence=0.86,
        probabilities={label: 0.86 if label == EMOTIONS[1] else 0.02 for label in EMOTIONS},
        previous=EMOTIONS[0],
        track_id=ulid(now),
        track_started=now,
        track_duration=12.345,
        box=Box(0.25, 0.25, 0.25, 0.25),
        quality=0.75,
        latency_ms=12.3,
        model_name="mobilenet_v2",
        model_version="1.0.0",
    )

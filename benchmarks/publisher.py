"""Events through the daemon's own outbox and MQTT client, to a broker."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from edge_emotion.config import MqttSettings
from edge_emotion.datatypes import Box, EmotionEvent
from edge_emotion.demo import HOST
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.ids import ulid
from edge_emotion.labels import EMOTIONS
from edge_emotion.sequence import Sequence
from edge_emotion.sinks.mqtt import MqttSink

POLL = 0.0001
"""Seconds between two looks whether an event was acknowledged."""
PATIENCE = 10.0
"""Seconds for the broker to acknowledge one."""


class Publisher:
    """What the daemon does to publish one event: number it, save the number, hand it to the durable MQTT sink."""

    def __init__(self, event: EmotionEvent, folder: Path, port: int) -> None:
        self._event, self._numbers = event, Sequence(folder, "benchmark")
        settings = MqttSettings(host=HOST, port=port, drain_timeout=30.0)
        self.sink = MqttSink(settings, "benchmark", {}, ["clip"], state_dir=self._numbers.folder, numbers=self._numbers)

    def __enter__(self) -> Publisher:
        self.sink.open()
        while not self.sink.connected:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.sink.close()
        self._numbers.close()

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
        while self.sink.waiting:
            if time.perf_counter() - begin > PATIENCE:
                raise EdgeEmotionError(f"the broker has not acknowledged an event within {PATIENCE:g} s")
            time.sleep(POLL)
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

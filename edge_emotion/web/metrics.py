"""Counters and figures for Prometheus; names and units by the rules of its documentation."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest

from edge_emotion.daemon.camera import Camera
from edge_emotion.datatypes import EmotionEvent

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counted by the main loop, read by the thread of the server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._events = Counter(
            "edge_emotion_events_total", "Events by type and emotion.", ("camera", "type", "emotion"),
            registry=self._registry,
        )  # fmt: skip

    def count_frame(self, camera: Camera) -> None:
        """Count a processed frame."""

    def count_event(self, event: EmotionEvent) -> None:
        """Count an event."""
        self._events.labels(event.camera, event.type, event.emotion).inc()

    def text(self) -> bytes:
        """Everything in the text format."""
        return generate_latest(self._registry)

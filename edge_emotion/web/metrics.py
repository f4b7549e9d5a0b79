"""Counters and figures for Prometheus; names and units by the rules of its documentation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client import generate_latest as as_text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from edge_emotion import __version__
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.camera_stats import STAGES
from edge_emotion.daemon.capture import Capture
from edge_emotion.datatypes import EmotionEvent
from edge_emotion.protocols import ControlChannel
from edge_emotion.system.telemetry import FIRMWARE_FLAGS, temperature, throttling
from edge_emotion.web.live import LiveState
from edge_emotion.web.node import Node

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "edge_emotion_"

FRESH_SECONDS = 1.0
"""For so long a text is given again: making it takes four times as long as the rest of its request."""

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Upper bounds of the buckets of durations and of confidences."""

REASONS = (*FIRMWARE_FLAGS.values(), "cooling")

# They would be one more series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Counts(NamedTuple):
    """Of one capture thread since its start."""

    frames: int = 0
    dropped: int = 0
    reconnects: int = 0
    stalls: int = 0


COUNTERS = {
    "frames": ("frames_captured", "Frames that the camera gave."),
    "dropped": ("frames_dropped", "Frames that a newer one replaced before they were processed."),
    "reconnects": ("camera_reconnects", "Times that a lost camera was opened again."),
    "stalls": ("camera_stalls", "Times that a camera gave no frame within its time-out."),
}
"""Field of Counts -> name and description."""


class CameraTotals:
    """Counts of a camera that go on when it is opened by another thread: switched on again, or changed."""

    def __init__(self) -> None:
        self.processed = 0
        self._before = Counts()
        self._capture: Capture | None = None

    def follow(self, capture: Capture) -> None:
        """Add the counts of this capture thread to those of the earlier ones."""
        if capture is not self._capture:
            self._before, self._capture = self.counts(), capture

    def counts(self) -> Counts:
        """Since the start of the process."""
        if self._capture is None:
            return self._before
        now = self._capture
        added = Counts(now.frames, now.slot.dropped, now.reconnects, now.stalls)
        return Counts(*(before + more for before, more in zip(self._before, added, strict=True)))


class Metrics(Collector):
    """Counted by the main loop, read by the thread of the server."""

    def __init__(self, live: LiveState, node: Node | None) -> None:
        self._live, self._node = live, node
        self._lock = threading.Lock()
        self._cameras: dict[str, CameraTotals] = {}
        self._recent, self._stale_at = b"", 0.0
        self._registry = CollectorRegistry()
        self._events = Counter(PREFIX + "events", "Events.", ("camera", "type", "emotion"), registry=self._registry)
        self._confidence = Histogram(
            PREFIX + "confidence", "Confidence of events.", ("camera",), buckets=SHARES, registry=self._registry
        )
        self._durations = Histogram(
            PREFIX + "stage_duration_seconds",
            "Time that a stage took for a frame; latency is from its capture to the hand-over of its events.",
            ("camera", "stage"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._stages: dict[str, tuple[Histogram, ...]] = {}
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def count_frame(self, camera: Camera, latency: float) -> None:
        """Count a processed frame, whose events were handed over ``latency`` seconds after its capture."""
        name, times = camera.name, camera.pipeline.times
        with self._lock:
            totals = self._cameras.setdefault(name, CameraTotals())
            totals.follow(camera.capture)
            totals.processed += 1
        if times is not None:
            stages = self._stages.get(name) or self._new_stages(name)
            classify = times.align + times.classify
            row = (times.detect, times.track, classify, times.decide, latency)
            for histogram, seconds in zip(stages, row, strict=True):
                histogram.observe(seconds)

    def count_event(self, event: EmotionEvent) -> None:
        """Count an event."""
        self._events.labels(event.camera, event.type, event.emotion).inc()
        self._confidence.labels(event.camera).observe(event.confidence)

    def text(self) -> bytes:
        """Everything in the text format."""
        return as_text(self._registry)

    def recent_text(self) -> bytes:
        """The same, not older than FRESH_SECONDS."""
        now = time.monotonic()
        if now >= self._stale_at:
            self._recent, self._stale_at = self.text(), now + FRESH_SECONDS
        return self._recent

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The figures that are read at the time of the request."""
        yield self._build()
        if self._node is not None:
            yield from self._of_cameras(self._node)
            broker = self._node.control.broker
            if broker is not None:
                yield from _of_broker(broker)
        yield from _of_machine()
        yield _gauge("page_streams", "Pages and programs that read the stream of events.", self._live.streams)

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: it is not collected to be registered."""
        return []

    def _new_stages(self, camera: str) -> tuple[Histogram, ...]:
        self._stages[camera] = tuple(self._durations.labels(camera, stage) for stage in STAGES)
        return self._stages[camera]

    def _build(self) -> GaugeMetricFamily:
        model = self._live.info.get("model", {})
        labels = {
            "version": __version__,
            "model": model.get("name", ""),
            "model_version": model.get("version", ""),
            "precision": model.get("precision", ""),
        }
        found = GaugeMetricFamily(
            PREFIX + "build_info", "Versions of program and model; always 1.", labels=list(labels)
        )
        found.add_metric(list(labels.values()), 1)
        return found

    def _of_cameras(self, node: Node) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        with self._lock:
            for camera in list(node.daemon.cameras):
                self._cameras.setdefault(camera.name, CameraTotals()).follow(camera.capture)
            counted = {name: (totals.processed, totals.counts()) for name, totals in self._cameras.items()}
        processed = CounterMetricFamily(PREFIX + "frames_processed", "Frames that were processed.", labels=["camera"])
        for name, (frames, _) in counted.items():
            processed.add_metric([name], frames)
        yield processed
        for field, (name, text) in COUNTERS.items():
            family = CounterMetricFamily(PREFIX + name, text, labels=["camera"])
            for camera_name, (_, counts) in counted.items():
                family.add_metric([camera_name], getattr(counts, field))
            yield family
        states = self._live.states()
        up = {name: float(state["available"]) for name, state in states.items()}
        yield _gauges("camera_up", "1 while the camera gives frames.", "camera", up)
        faces = {name: float(state["faces"]) for name, state in states.items()}
        yield _gauges("faces", "Faces in view.", "camera", faces)


def _of_broker(broker: ControlChannel) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
    yield _gauge("mqtt_connected", "1 while there is a connection to the broker.", broker.connected)
    yield _counter("mqtt_connections", "Connections that the broker has accepted.", broker.connections)
    yield _gauge("outbox_events", "Events that wait for the broker.", broker.waiting)
    yield _counter("outbox_dropped", "Events that were discarded.", broker.dropped)
    yield _counter("outbox_refused", "Events that the broker refused for good.", broker.refused)


def _of_machine() -> Iterator[GaugeMetricFamily]:
    degrees, reasons = temperature(), throttling()
    if degrees is not None:
        yield _gauge("temperature_celsius", "Temperature of the processor.", degrees)
    if reasons is not None:
        now = {reason: float(reason in reasons) for reason in REASONS}
        yield _gauges("throttled", "1 while the processor is slowed down.", "reason", now)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, value=value)

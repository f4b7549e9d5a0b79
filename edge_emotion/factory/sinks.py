"""Sinks from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_emotion.config.settings import Settings
from edge_emotion.factory.node_info import describe
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.protocols import EventSink

if TYPE_CHECKING:
    from edge_emotion.factory.models import ModelDetector


def make_sinks(
    settings: Settings, classifier: EmotionClassifier, detector: ModelDetector, sequence: EventCounter | None = None
) -> list[EventSink]:
    """The sinks that the settings name; without ``sequence``, which knows the state directory, only to look at."""
    sinks: list[EventSink] = []
    if settings.jsonl is not None:
        from edge_emotion.sinks.jsonl import JsonlSink

        sinks.append(JsonlSink(settings.jsonl.path))
    if settings.mqtt is not None:
        from edge_emotion.sinks.mqtt.sink import MqttSink

        info, device = describe(settings, classifier, detector)
        # A line of JSON is written at once: with such a sink the outbox alone does not know which numbers were seen.
        numbers = sequence if settings.jsonl is None else None
        sinks.append(
            MqttSink(
                settings.mqtt,
                settings.node,
                info,
                list(settings.cameras),
                device=device,
                state_dir=None if sequence is None else sequence.folder,
                numbers=numbers,
            )
        )
    return sinks

"""Sinks from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_emotion.config.settings import Settings
from edge_emotion.factory.node_info import describe_node
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.protocols import EventSink

if TYPE_CHECKING:
    from edge_emotion.factory.models import ModelDetector


def make_sinks(
    settings: Settings, classifier: EmotionClassifier, detector: ModelDetector, sequence: EventCounter | None = None
) -> list[EventSink]:
    """The sinks of the settings. Without ``sequence``, the event counter, they can be checked but not opened."""
    sinks: list[EventSink] = []
    if settings.jsonl is not None:
        from edge_emotion.sinks.jsonl import JsonlSink

        sinks.append(JsonlSink(settings.jsonl.path))
    if settings.mqtt is not None:
        from edge_emotion.sinks.mqtt.sink import MqttSink

        info, device = describe_node(settings, classifier, detector)
        if sequence is not None:  # a line of JSON does not wait for the outbox
            sequence.shown_elsewhere = settings.jsonl is not None
        sinks.append(
            MqttSink(
                settings.mqtt,
                settings.node,
                info,
                list(settings.cameras),
                device=device,
                state_dir=None if sequence is None else sequence.folder,
                numbers=sequence,
            )
        )
    return sinks

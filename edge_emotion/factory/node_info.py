"""The node's ``info`` payload and its Home Assistant device."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from edge_emotion import __version__
from edge_emotion.config.settings import Settings
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.system.telemetry import Machine
from edge_emotion.wire.home_assistant import device_config
from edge_emotion.wire.payloads import SCHEMA
from edge_emotion.wire.topics import Topics

if TYPE_CHECKING:
    from edge_emotion.factory.models import ModelDetector


def describe_node(
    settings: Settings, classifier: EmotionClassifier, detector: ModelDetector
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The node's ``info``, and its device in Home Assistant if the settings want one; plain JSON values."""
    mqtt, device = settings.mqtt, None
    if mqtt is not None and mqtt.discovery.enabled:
        manifest, topics = classifier.manifest, Topics(mqtt.prefix, settings.node)
        device = device_config(
            topics,
            list(settings.cameras),
            manifest.labels,
            manifest.name,
            Machine().readings(),
            follows_orders=settings.update.group is not None,
        )
    return node_info(settings, classifier, detector), device


def node_info(settings: Settings, classifier: EmotionClassifier, detector: ModelDetector) -> dict[str, Any]:
    """The payload of ``info``, plain JSON values. Sources are not in it: their URLs may hold passwords."""
    manifest, entry = classifier.manifest, classifier.entry
    return {
        "schema": SCHEMA,
        "node": settings.node,
        "version": __version__,
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "precision": entry.precision,
            "sha256": entry.sha256,
            "labels": list(classifier.labels),
            "refused": list(classifier.refused),
        },
        "detector": {"name": detector.manifest.name, "version": detector.manifest.version},
        "backend": classifier.backend.name,
        "host": {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()},
        "cameras": list(settings.cameras),
    }

"""Receive emotion events in a Python program: connect, iterate, detect missed events.

    from edge_emotion.client import Client, broker_settings

    with Client(broker_settings("broker.local")) as client:
        for event in client.events():
            print(event.camera, event.emotion, event.confidence)

The MQTT contract is docs/reference/mqtt.md.
"""

from __future__ import annotations

from edge_emotion.client.client import Client
from edge_emotion.client.gaps import Arrival, Totals
from edge_emotion.client.items import AvailabilityReceived, EventReceived, Item, StateReceived, StatsReceived
from edge_emotion.client.reader import CameraStatus
from edge_emotion.client.settings import broker_settings
from edge_emotion.config.settings import TlsSettings
from edge_emotion.mqtt.timing import Timing

__all__ = [
    "Arrival", "AvailabilityReceived", "CameraStatus", "Client", "EventReceived", "Item", "StateReceived",
    "StatsReceived", "Timing", "TlsSettings", "Totals", "broker_settings",
]  # fmt: skip

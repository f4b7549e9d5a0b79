"""Callbacks for what the broker sends: messages of others, and answers to retained messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_emotion.mqtt.connection import IncomingMessage
from edge_emotion.sinks.mqtt.send_queue import Message


@dataclass(slots=True)
class IncomingHandlers:
    """Topic filters to subscribe to, and callbacks that the sender's thread calls."""

    filters: list[str] = field(default_factory=list)
    retained_filters: list[str] = field(default_factory=list)
    """Those whose retained messages are wanted, too."""
    on_message: Callable[[IncomingMessage], None] = lambda _message: None
    on_confirmed: Callable[[Message], None] = lambda _message: None
    """The broker has acknowledged a retained message."""
    on_refused: Callable[[Message, str], bool] = lambda _message, _reason: False
    """The broker refuses a retained message for good, and its reason; True if that was logged."""

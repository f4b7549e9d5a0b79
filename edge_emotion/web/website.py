"""The objects from which the routes answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_emotion.config.web_settings import WebSettings
from edge_emotion.web.access import Access
from edge_emotion.web.live import LiveState
from edge_emotion.web.metrics import Metrics
from edge_emotion.web.node import Node
from edge_emotion.web.pictures import PictureClassifier
from edge_emotion.web.tap import Preview

if TYPE_CHECKING:
    from edge_emotion.web.broker_nodes import BrokerNodes


@dataclass(frozen=True, slots=True)
class Site:
    """Everything behind the routes. ``node``, ``nodes``, ``preview``: None without daemon, broker, or that setting."""

    settings: WebSettings
    access: Access
    live: LiveState
    metrics: Metrics
    examine: Callable[[], dict[str, Any]]
    pictures: PictureClassifier
    node: Node | None = None
    nodes: BrokerNodes | None = None
    preview: Preview | None = None

"""The retained ``info`` of every node of a broker, by a connection of its own: a broker may refuse only this topic."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import Any

from edge_emotion.client.connection import ReceivedMessage
from edge_emotion.client.network_thread import SubscriberThread, subscriber_id
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import EdgeEmotionError
from edge_emotion.mqtt.timing import Timing
from edge_emotion.wire.payloads import MAX_PAYLOAD, read_object
from edge_emotion.wire.topics import Topics

log = logging.getLogger(__name__)

RETRY = 60.0
"""Seconds until a subscription that was refused is tried again."""


class NodeInfos:
    """Node -> its info. ``run`` is for a thread of its own; without the right to read it there is none."""

    def __init__(self, settings: MqttSettings, most: int) -> None:
        """Of at most ``most`` nodes."""
        self._settings, self._most = settings, most
        self._infos: dict[str, dict[str, Any]] = {}
        self._closed = threading.Event()
        self._network: SubscriberThread | None = None

    def of(self, node: str) -> dict[str, Any] | None:
        """The last info of a node; None if it has none."""
        return self._infos.get(node)

    def run(self) -> None:
        """Until ``close``."""
        while not self._closed.is_set():
            try:
                with closing(self._subscriber()) as network:
                    self._read(network)
            except EdgeEmotionError as error:
                log.info("the page does not show the versions of nodes: %s", error)
            except Exception:
                log.exception("reading the infos of nodes has failed: trying again")
            self._closed.wait(RETRY)

    def close(self) -> None:
        """End ``run``; may be called twice."""
        self._closed.set()
        if self._network is not None:
            self._network.close()

    def _subscriber(self) -> SubscriberThread:
        topics = [Topics(self._settings.prefix, "+").info]
        self._network = SubscriberThread(self._settings, subscriber_id(), topics, keep=0, timing=Timing())
        return self._network

    def _read(self, network: SubscriberThread) -> None:
        if not self._closed.is_set():
            network.open()
            while (message := network.get(None)) is not None:
                self._take(message)

    def _take(self, message: ReceivedMessage) -> None:
        node, payload = message.topic.split("/")[-2], message.payload
        if not payload:
            self._infos.pop(node, None)
        elif len(payload) <= MAX_PAYLOAD and (node in self._infos or len(self._infos) < self._most):
            self._keep(node, payload)

    def _keep(self, node: str, payload: bytes) -> None:
        try:
            self._infos[node] = read_object(payload)
        except ValueError as error:
            log.debug("the info of node %.70r cannot be read: %s", node, error)

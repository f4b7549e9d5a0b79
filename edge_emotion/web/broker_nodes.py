"""Every node that a broker knows: which are online, what their cameras see, their last events."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from edge_emotion.client import AvailabilityReceived, Client, EventReceived, Item, StateReceived, StatsReceived
from edge_emotion.config.settings import MqttSettings
from edge_emotion.errors import EdgeEmotionError, SinkError
from edge_emotion.web.node_infos import NodeInfos
from edge_emotion.wire.payloads import state_to_json

log = logging.getLogger(__name__)

MAX_NODES = 200
"""Most nodes that are kept: a broker may hold any number of retained topics."""

MAX_CAMERAS = 100
"""Most cameras of a node that are kept."""

FIRST_ANSWER = 2.0
"""Seconds for the retained messages to arrive after the first request."""

RETRY = 10.0
"""Seconds between two attempts to connect the first time; later the client does that itself."""


class BrokerNodes:
    """The nodes on a broker, received in a thread that begins with the first call of ``listed``."""

    def __init__(self, settings: MqttSettings) -> None:
        self._settings, self._infos = settings, NodeInfos(settings, MAX_NODES)
        self._lock = threading.Lock()
        self._nodes: dict[str, dict[str, Any]] = {}
        self._failure: str | None = None
        self._seen, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._client: Client | None = None

    def listed(self) -> list[dict[str, Any]]:
        """The nodes by name. Raises SinkError if the broker cannot be reached."""
        self._start()
        self._seen.wait(FIRST_ANSWER)
        with self._lock:
            if self._failure is not None:
                raise SinkError(self._failure)
            if self._client is not None and not self._client.connected:
                broker = f"{self._settings.host}:{self._settings.effective_port}"
                raise SinkError(f"the connection to the broker {broker} is lost: it is being made again")
            return [self._shown(name, node) for name, node in sorted(self._nodes.items())]

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._closed.set()
        self._infos.close()
        if self._client is not None:
            self._client.close()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="web-nodes", daemon=True)
                self._thread.start()
                threading.Thread(target=self._infos.run, name="web-infos", daemon=True).start()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with Client(self._settings) as client:
                    self._client, self._failure = client, None
                    for item in client.items():
                        self._take(client, item)
            except EdgeEmotionError as error:
                self._failure = str(error)
                self._seen.set()
            except Exception:
                log.exception("reading the nodes of the broker has failed: trying again")
            self._closed.wait(RETRY)

    def _take(self, client: Client, item: Item) -> None:
        with self._lock:
            if isinstance(item, EventReceived):
                node = self._node(item.event.node)
                if node is not None:
                    node["last_event"] = json.loads(item.payload)
                    node["gaps"] = client.node_totals[item.event.node].missed
            elif isinstance(item, StatsReceived):
                pass  # not asked for
            elif item.camera is not None:
                self._take_camera(item, item.camera)
            elif isinstance(item, AvailabilityReceived):
                node = self._node(item.node)
                if node is not None:
                    node["available"] = bool(item.online)
        self._seen.set()

    def _take_camera(self, item: AvailabilityReceived | StateReceived, name: str) -> None:
        node = self._node(item.node)
        if node is None or (len(node["cameras"]) >= MAX_CAMERAS and name not in node["cameras"]):
            return
        camera = node["cameras"].setdefault(name, {"available": False, "state": None})
        if isinstance(item, AvailabilityReceived) and item.online is None:
            del node["cameras"][name]
        elif isinstance(item, AvailabilityReceived):
            camera["available"] = item.online
        else:
            camera["state"] = None if item.state is None else json.loads(state_to_json(item.state))

    def _node(self, name: str) -> dict[str, Any] | None:
        if name not in self._nodes and len(self._nodes) >= MAX_NODES:
            return None
        empty: dict[str, Any] = {"available": False, "cameras": {}, "last_event": None, "gaps": 0}
        return self._nodes.setdefault(name, empty)

    def _shown(self, name: str, node: dict[str, Any]) -> dict[str, Any]:
        cameras = {camera: dict(values) for camera, values in node["cameras"].items()}
        return {"node": name, "info": self._infos.of(name), **node, "cameras": cameras}

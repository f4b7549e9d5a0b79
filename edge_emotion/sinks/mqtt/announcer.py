"""Retained topics and Home Assistant components that the broker keeps for this node, so that they can be removed."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.sinks.mqtt.send_queue import Message, SendQueue
from edge_emotion.system.state_file import load_json, save_json
from edge_emotion.wire.payloads import CLEARED, OFFLINE, to_json
from edge_emotion.wire.topics import FEATURES, NAME_PATTERN, Topics

_log = logging.getLogger("edge_emotion.sinks.mqtt")

Device = Mapping[str, Any]
"""A payload of Home Assistant's device discovery, with its components by id."""

_DEVICE_PATTERN = r"[^\x00-\x1f\x7f#+\ud800-\udfff]{1,300}/device/edge-emotion_(?P<node>[a-zA-Z0-9_-]{1,64})/config"
_COMPONENT_PATTERN = r"[a-zA-Z0-9_-]{1,200}"
_PREFIX_PATTERN = r"[a-zA-Z0-9_-]+(/[a-zA-Z0-9_-]+)*"
_KEYS = {"cameras", "devices", "components", "prefix", "node", "stale"}


class Announcer:
    """Announces cameras and the device, and records them in a file of the state directory. Thread-safe.

    What is in the file and no longer in the configuration is removed, also after a restart: retained topics of a
    camera, and all those under an earlier prefix or name of the node, are cleared; a component is first announced with
    nothing but its platform, which removes it, and then left out (Home Assistant, MQTT integration, "Device discovery
    payload"). An entry leaves the file when the broker has confirmed its removal.
    """

    def __init__(self, send_queue: SendQueue, topics: Topics, path: Path | None) -> None:
        """``path`` is the file, None: nothing is recorded."""
        self.on_forbidden: Callable[[str, str], None] = lambda _root, _reason: None
        """Called once with ``<prefix>/<node>`` of stale topics if the broker refuses to clear them, and its reason."""
        self._send_queue, self._topics, self._path = send_queue, topics, path
        self._lock = threading.Lock()
        self._forbidden = False
        self._saved: dict[str, Any] = {} if path is None else load_json(path, _check)
        self._recorded = set(self._saved.get("cameras", ()))
        self._devices = set(self._saved.get("devices", ()))
        self._components: dict[str, str] = dict(self._saved.get("components", {}))
        """Id -> platform, as Home Assistant may have them."""
        self._stale: set[str] = set(self._saved.get("stale", ()))
        """Topics under an earlier prefix or name of this node that the broker may still have."""
        self._add_stale()
        self._cameras: set[str] = set()
        self._device: Device | None = None
        self._topic, self._published = "", b""

    def announce(self, cameras: Sequence[str], topic: str, device: Device | None) -> None:
        """Replace the cameras, and the device with its discovery ``topic``; None: no device."""
        with self._lock:
            removed = (self._recorded | self._cameras).difference(cameras)
            added = [camera for camera in cameras if camera not in self._cameras]
            self._cameras, self._topic, self._device = set(cameras), topic, device
            self._recorded |= self._cameras
            for old in self._devices - ({topic} if device else set()):
                self._send_queue.clear(old)
            if device is not None:
                self._devices.add(topic)
                self._publish(device)
            for old in [each for camera in sorted(removed) for each in _topics_of(self._topics, camera)]:
                self._send_queue.clear(old)
            for old in sorted(self._stale):
                self._send_queue.clear(old)
            for camera in added:
                self._send_queue.retain(self._topics.camera(camera, "availability"), OFFLINE)
            self._save()

    def confirm(self, message: Message) -> None:
        """The broker has acknowledged a retained message."""
        with self._lock:
            if message.payload == CLEARED:
                self._forget(message.topic)
            elif self._device is not None and (message.topic, message.payload) == (self._topic, self._published):
                current = _platforms(self._device)
                if self._components != current:
                    self._components = current
                    self._publish(self._device)
                    self._save()

    def refuse(self, message: Message, reason: str) -> bool:
        """The broker refuses a retained message for good; True if it was a stale topic, which is tried at each start.

        Only MQTT 5 has such refusals.
        """
        with self._lock:
            stale = message.topic in self._stale | (self._devices - {self._topic})
            roots = {topic.removesuffix("/info") for topic in self._stale if topic.endswith("/info")}
            if stale and not self._forbidden:
                self._forbidden = True
                self.on_forbidden(min(roots, default=message.topic), reason)
            return stale

    def _add_stale(self) -> None:
        """If the node had another prefix or name when the file was written, all topics of then."""
        devices = [re.fullmatch(_DEVICE_PATTERN, topic) for topic in self._devices]
        names = {found["node"] for found in devices if found}
        # Files without a prefix and a name are those of version 0.1; then the device has the name.
        node = self._saved.get("node") or (names.pop() if len(names) == 1 else self._topics.node)
        earlier = Topics(self._saved.get("prefix") or self._topics.prefix, node)
        if earlier == self._topics or not self._saved:
            return
        topics = [each for camera in self._recorded for each in _topics_of(earlier, camera)]
        self._stale = self._stale.union(topics, (earlier.info, earlier.availability))
        self._recorded = set()
        _log.info("this node was %s: the retained topics there are cleared", earlier.root)

    def _publish(self, device: Device) -> None:
        """With the removed components, as long as the broker has not confirmed their removal."""
        current = device["components"]
        removed = {key: {"platform": kind} for key, kind in self._components.items() if key not in current}
        self._components |= _platforms(device)
        self._published = to_json({**device, "components": {**removed, **current}})
        self._send_queue.retain(self._topic, self._published)

    def _forget(self, topic: str) -> None:
        """Remove a topic that the broker has cleared from the records, and write their file."""
        self._stale.discard(topic)
        if self._device is None or topic != self._topic:
            self._devices.discard(topic)
        if not self._devices:
            self._components = {}
        removed = {name for name in self._recorded if self._topics.camera(name, "availability") == topic}
        self._recorded -= removed - self._cameras
        self._save()

    def _save(self) -> None:
        current = {
            "prefix": self._topics.prefix,
            "node": self._topics.node,
            "cameras": sorted(self._recorded),
            "devices": sorted(self._devices),
            "components": self._components,
            "stale": sorted(self._stale),
        }
        if self._path is not None and current != self._saved:
            save_json(self._path, current)
            self._saved = {**current, "components": dict(self._components)}


def _topics_of(topics: Topics, camera: str) -> list[str]:
    own = [topics.feature(camera, feature) for feature in FEATURES]
    return [*own, topics.camera(camera, "state"), topics.camera(camera, "availability")]


def _platforms(device: Device) -> dict[str, str]:
    return {key: component["platform"] for key, component in device["components"].items()}


def _check(saved: dict[str, Any]) -> None:
    """Raises ValueError for a file that this class has not written: what is in it becomes topics."""
    if not saved.keys() <= _KEYS:
        raise ValueError(f"it has other keys than {', '.join(sorted(_KEYS))}")
    cameras, devices, stale = (saved.get(key, []) for key in ("cameras", "devices", "stale"))
    components = saved.get("components", {})
    if not all(isinstance(each, list) for each in (cameras, devices, stale)) or not isinstance(components, dict):
        raise ValueError("a list or an object is missing")
    _match(NAME_PATTERN, [*cameras, *(saved[key] for key in ("node",) if key in saved)], "a name")
    _match(_PREFIX_PATTERN, [*stale, *(saved[key] for key in ("prefix",) if key in saved)], "a topic")
    _match(_DEVICE_PATTERN, devices, "a discovery topic")
    _match(_COMPONENT_PATTERN, [*components, *components.values()], "a component")


def _match(pattern: str, values: list[Any], kind: str) -> None:
    for value in values:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r:.100} is not {kind}")

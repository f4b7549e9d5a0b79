"""What a broker and Home Assistant were told to keep of a node, so that what vanishes can be taken back."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_emotion.sinks.mqtt.send_queue import Message, SendQueue
from edge_emotion.system.atomic_file import load_json, save_json
from edge_emotion.wire.payloads import GONE, OFFLINE, to_json
from edge_emotion.wire.topics import FEATURES, Topics

Device = Mapping[str, Any]
"""A payload of Home Assistant's device discovery, with its components by id."""


class Announcer:
    """Announces cameras and the device, and remembers them in a file of the state directory.

    What the file has and the configuration has not is taken back, also after a restart: retained topics of a camera
    are emptied; a component is first announced with nothing but its platform, which removes it, and then left out
    (Home Assistant, MQTT integration, "Device discovery payload"). The file forgets what the broker has confirmed.
    Thread-safe.
    """

    def __init__(self, send_queue: SendQueue, topics: Topics, path: Path | None) -> None:
        self._send_queue, self._topics, self._path = send_queue, topics, path
        self._lock = threading.Lock()
        self._saved: dict[str, Any] = {} if path is None else load_json(path)
        self._known = {name for name in _listed(self._saved.get("cameras")) if isinstance(name, str)}
        self._devices = {topic for topic in _listed(self._saved.get("devices")) if isinstance(topic, str)}
        components = self._saved.get("components")
        self._components: dict[str, str] = dict(components) if isinstance(components, dict) else {}
        """Id -> platform, as Home Assistant may know them."""
        self._cameras: set[str] = set()
        self._device: Device | None = None
        self._topic, self._said = "", b""

    def announce(self, cameras: Sequence[str], topic: str, device: Device | None) -> None:
        """From now on these are the cameras, and this is the device with its discovery ``topic``; None: no device."""
        with self._lock:
            vanished = (self._known | self._cameras).difference(cameras)
            new = [camera for camera in cameras if camera not in self._cameras]
            self._cameras, self._topic, self._device = set(cameras), topic, device
            self._known |= self._cameras
            for old in self._devices - ({topic} if device else set()):
                self._send_queue.forget(old)
            if device is not None:
                self._devices.add(topic)
                self._say(device)
            for gone in [each for camera in sorted(vanished) for each in self._topics_of(camera)]:
                self._send_queue.forget(gone)
            for camera in new:
                self._send_queue.retain(self._topics.camera(camera, "availability"), OFFLINE)
            self._save()

    def settled(self, message: Message) -> None:
        """The broker has taken over a retained message."""
        with self._lock:
            if message.payload == GONE:
                self._taken_back(message.topic)
            elif self._device is not None and (message.topic, message.payload) == (self._topic, self._said):
                current = _platforms(self._device)
                if self._components != current:
                    self._components = current
                    self._say(self._device)
                    self._save()

    def _say(self, device: Device) -> None:
        """With the components that vanished, as long as they have not been confirmed to be gone."""
        current = device["components"]
        vanished = {key: {"platform": kind} for key, kind in self._components.items() if key not in current}
        self._components |= _platforms(device)
        self._said = to_json({**device, "components": {**vanished, **current}})
        self._send_queue.retain(self._topic, self._said)

    def _taken_back(self, topic: str) -> None:
        if self._device is None or topic != self._topic:
            self._devices.discard(topic)
        if not self._devices:
            self._components = {}
        gone = {name for name in self._known if self._topics.camera(name, "availability") == topic}
        self._known -= gone - self._cameras
        self._save()

    def _topics_of(self, camera: str) -> list[str]:
        own = [self._topics.feature(camera, feature) for feature in FEATURES]
        return [*own, self._topics.camera(camera, "state"), self._topics.camera(camera, "availability")]

    def _save(self) -> None:
        told = {"cameras": sorted(self._known), "devices": sorted(self._devices), "components": self._components}
        if self._path is not None and told != self._saved:
            save_json(self._path, told)
            self._saved = {**told, "components": dict(self._components)}


def _platforms(device: Device) -> dict[str, str]:
    return {key: component["platform"] for key, component in device["components"].items()}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

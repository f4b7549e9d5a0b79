"""A sink and a control channel that keep everything in memory: for tests, demos and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_emotion.datatypes import CameraState, EmotionEvent


class MemorySink:
    """Keeps what it is given, in the order it came. It needs no ``open`` and still works after ``close``."""

    def __init__(self) -> None:
        self.events: list[EmotionEvent] = []
        self.states: list[tuple[str, CameraState]] = []
        self.availability: list[tuple[str, bool]] = []

    def check(self) -> None:
        """Nothing can be wrong."""

    def open(self) -> None:
        """Nothing to prepare."""

    def publish(self, event: EmotionEvent) -> None:
        """Append to ``events``."""
        self.events.append(event)

    def camera_state(self, camera: str, state: CameraState) -> None:
        """Append ``(camera, state)`` to ``states``."""
        self.states.append((camera, state))

    def camera_available(self, camera: str, available: bool) -> None:
        """Append ``(camera, available)`` to ``availability``."""
        self.availability.append((camera, available))

    def close(self) -> None:
        """Nothing to stop: the lists stay readable."""


class MemoryChannel:
    """Keeps what a node says of itself; ``ask`` is what somebody asks of it."""

    waiting = dropped = 0

    def __init__(self) -> None:
        self.info: Mapping[str, Any] = {}
        self.cameras: Sequence[str] = ()
        self.device: Mapping[str, Any] | None = None
        self.features: dict[tuple[str, str], bytes] = {}
        self.answers: list[tuple[str, Mapping[str, Any]]] = []
        self.reports: list[Mapping[str, Any]] = []
        self._heard: Callable[[str, bytes], None] = lambda _topic, _payload: None

    def ask(self, topic: str, payload: bytes) -> None:
        """Send a message to the node."""
        self._heard(topic, payload)

    def listen(self, heard: Callable[[str, bytes], None]) -> None:
        """Remember whom ``ask`` is for."""
        self._heard = heard

    def describe(self, info: Mapping[str, Any], cameras: Sequence[str], device: Mapping[str, Any] | None) -> None:
        """Replace ``info``, ``cameras`` and ``device``."""
        self.info, self.cameras, self.device = info, cameras, device

    def feature_state(self, camera: str, feature: str, payload: bytes) -> None:
        """Replace an entry of ``features``."""
        self.features[camera, feature] = payload

    def respond(self, command: str, answer: Mapping[str, Any]) -> None:
        """Append ``(command, answer)`` to ``answers``."""
        self.answers.append((command, answer))

    def report(self, stats: Mapping[str, Any]) -> None:
        """Append to ``reports``."""
        self.reports.append(stats)

"""A sink and a control channel that keep everything in memory: for tests, demos and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edge_emotion.datatypes import CameraState, EmotionEvent


class MemorySink:
    """Keeps everything in lists, in order of arrival. It needs no ``open`` and still works after ``close``."""

    def __init__(self) -> None:
        self.events: list[EmotionEvent] = []
        self.states: list[tuple[str, CameraState]] = []
        self.availability: list[tuple[str, bool]] = []

    def check(self) -> None:
        """Never raises."""

    def open(self) -> None:
        """Does nothing."""

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
        """Does nothing: the lists stay readable."""


class MemoryChannel:
    """Keeps what the node publishes about itself; ``ask`` sends it a command."""

    connected = True
    waiting = dropped = refused = connections = 0
    last_failure: str | None = None

    def __init__(self) -> None:
        self.info: Mapping[str, Any] = {}
        self.cameras: Sequence[str] = ()
        self.device: Mapping[str, Any] | None = None
        self.features: dict[tuple[str, str], bytes] = {}
        self.answers: list[tuple[str, Mapping[str, Any]]] = []
        self.reports: list[Mapping[str, Any]] = []
        self.followed: dict[str, Callable[[bytes], None]] = {}
        self._received: Callable[[str, bytes], None] = lambda _topic, _payload: None

    def ask(self, topic: str, payload: bytes) -> None:
        """Pass a command to the node."""
        self._received(topic, payload)

    def listen(self, received: Callable[[str, bytes], None]) -> None:
        """Let ``ask`` call ``received``."""
        self._received = received

    def follow(self, topic: str, received: Callable[[bytes], None]) -> None:
        """Keep ``received`` in ``followed``, for the test to call."""
        self.followed[topic] = received

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

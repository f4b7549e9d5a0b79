"""A sink that keeps everything in lists: for tests, demos and notebooks."""

from __future__ import annotations

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

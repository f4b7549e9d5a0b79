"""Settings of a camera that are changed over MQTT while it runs: their payloads, and their file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_emotion.config.settings import Settings
from edge_emotion.labels import subset
from edge_emotion.system.state_file import BackgroundWriter, load_json, log
from edge_emotion.wire.payloads import read_json
from edge_emotion.wire.topics import FEATURES, NAME_PATTERN, Feature


@dataclass(frozen=True, slots=True)
class CameraOverrides:
    """Settings of one camera that override the configuration; None: not overridden."""

    enabled: bool = True
    threshold: float | None = None
    classes: tuple[str, ...] | None = None

    def with_payload(self, feature: str, payload: bytes, labels: Sequence[str]) -> CameraOverrides:
        """The overrides after a message on ``<feature>/set``; ``labels`` are the model's.

        Raises ValueError with the expected value.
        """
        if feature == "enabled":
            return replace(self, enabled=_switch(payload))
        if feature == "threshold":
            return replace(self, threshold=_fraction(read_json(payload)))
        if feature == "classes":
            return replace(self, classes=_classes(read_json(payload), labels))
        raise ValueError(f"there is no such feature; there are {', '.join(FEATURES)}")

    def threshold_in(self, settings: Settings) -> float:
        """The threshold that applies: the overridden one, else that of the settings."""
        return settings.policy.threshold if self.threshold is None else self.threshold

    def payloads(self, settings: Settings, labels: Sequence[str]) -> dict[Feature, bytes]:
        """The inverse: payloads of ``<feature>/state``, with the configuration's values where nothing is overridden."""
        classes = settings.classifier.classes if self.classes is None else self.classes
        chosen = labels if classes is None else [labels[index] for index in subset(labels, classes)]
        return {
            "enabled": b"ON" if self.enabled else b"OFF",
            "threshold": json.dumps(self.threshold_in(settings)).encode(),
            "classes": json.dumps(list(chosen)).encode(),
        }


class OverrideStore:
    """The overrides of all cameras by name, stored in a file of the state directory; without one, in memory."""

    def __init__(self, path: Path | None, labels: Sequence[str]) -> None:
        """Entries of the file that do not fit the model's ``labels`` are logged and ignored."""
        self._writer, self._changed = None if path is None else BackgroundWriter(path), False
        self._kept: dict[str, CameraOverrides] = {}
        for camera, values in ({} if path is None else load_json(path, _check)).items():
            self._kept[camera] = _restored(camera, values, labels)

    def __getitem__(self, camera: str) -> CameraOverrides:
        return self._kept.get(camera, CameraOverrides())

    def __setitem__(self, camera: str, features: CameraOverrides) -> None:
        self._kept[camera], self._changed = features, True

    def save(self) -> None:
        """Have the file written if something has changed since the last time: once for any number of changes."""
        if self._changed and self._writer is not None:
            overridden = {name: kept for name, kept in self._kept.items() if kept != CameraOverrides()}
            self._writer.save({name: asdict(kept) for name, kept in overridden.items()})
        self._changed = False

    def wait(self) -> None:
        """Return when all that was saved is in the file."""
        if self._writer is not None:
            self._writer.wait()


def _check(saved: dict[str, Any]) -> None:
    """Raises ValueError for a file that ``OverrideStore`` has not written."""
    for camera in saved:
        if not re.fullmatch(NAME_PATTERN, camera):
            raise ValueError(f"{camera!r:.100} is not a camera's name")


def _restored(camera: str, values: Any, labels: Sequence[str]) -> CameraOverrides:
    try:
        restored = CameraOverrides(
            enabled=_boolean(values["enabled"]),
            threshold=_fraction(values["threshold"]),
            classes=_classes(values["classes"], labels),
        )
    except (ValueError, TypeError, KeyError) as error:
        log.warning(
            "the stored settings of camera %.70r cannot be used any more (%s): back to the settings", camera, error
        )
        return CameraOverrides()
    return restored


def _switch(payload: bytes) -> bool:
    if payload not in (b"ON", b"OFF"):
        raise ValueError("expected ON or OFF")
    return payload == b"ON"


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _fraction(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError("expected a number from 0 to 1, or null for the configured one")
    return float(value)


def _classes(value: object, labels: Sequence[str]) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError('expected a list like ["happiness", "sadness"], or null for the configured ones')
    return tuple(labels[index] for index in subset(labels, value))

"""What can be set of a camera from outside, while it runs: how it is written, and how it survives a restart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_emotion.config.settings import Settings
from edge_emotion.labels import subset
from edge_emotion.system.atomic_file import load_json, log, save_json
from edge_emotion.wire.payloads import read_json
from edge_emotion.wire.topics import FEATURES, Feature


@dataclass(frozen=True, slots=True)
class CameraOverrides:
    """What was set for one camera. None is what the configuration says."""

    enabled: bool = True
    threshold: float | None = None
    classes: tuple[str, ...] | None = None

    def with_payload(self, feature: str, payload: bytes, labels: Sequence[str]) -> CameraOverrides:
        """These features after a message on ``<feature>/set``; ``labels`` are the model's.

        Raises ValueError saying what was expected.
        """
        if feature == "enabled":
            return replace(self, enabled=_switch(payload))
        if feature == "threshold":
            return replace(self, threshold=_fraction(read_json(payload)))
        if feature == "classes":
            return replace(self, classes=_classes(read_json(payload), labels))
        raise ValueError(f"there is no such feature; there are {', '.join(FEATURES)}")

    def threshold_in(self, settings: Settings) -> float:
        """What was set, else what the settings say."""
        return settings.policy.threshold if self.threshold is None else self.threshold

    def payloads(self, settings: Settings, labels: Sequence[str]) -> dict[Feature, bytes]:
        """The inverse: what ``<feature>/state`` says, the configuration's values for what was not set."""
        classes = settings.classifier.classes if self.classes is None else self.classes
        chosen = labels if classes is None else [labels[index] for index in subset(labels, classes)]
        return {
            "enabled": b"ON" if self.enabled else b"OFF",
            "threshold": json.dumps(self.threshold_in(settings)).encode(),
            "classes": json.dumps(list(chosen)).encode(),
        }


class OverrideStore:
    """The features of all cameras by name, kept in a file of the state directory; without one, in memory."""

    def __init__(self, path: Path | None, labels: Sequence[str]) -> None:
        """What in the file does not fit the model's ``labels`` is logged and forgotten."""
        self._path = path
        self._kept: dict[str, CameraOverrides] = {}
        for camera, values in ({} if path is None else load_json(path)).items():
            self._kept[camera] = _restored(camera, values, labels)

    def __getitem__(self, camera: str) -> CameraOverrides:
        return self._kept.get(camera, CameraOverrides())

    def __setitem__(self, camera: str, features: CameraOverrides) -> None:
        self._kept[camera] = features
        if self._path is not None:
            save_json(
                self._path, {name: asdict(kept) for name, kept in self._kept.items() if kept != CameraOverrides()}
            )


def _restored(camera: str, values: Any, labels: Sequence[str]) -> CameraOverrides:
    try:
        restored = CameraOverrides(
            enabled=values["enabled"] is not False,
            threshold=_fraction(values["threshold"]),
            classes=_classes(values["classes"], labels),
        )
    except (ValueError, TypeError, KeyError) as error:
        log.warning(
            "what was set for camera %.70r before cannot be used any more (%s): back to the settings", camera, error
        )
        return CameraOverrides()
    return restored


def _switch(payload: bytes) -> bool:
    if payload not in (b"ON", b"OFF"):
        raise ValueError("expected ON or OFF")
    return payload == b"ON"


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

"""Applying changed settings to a running daemon."""

from __future__ import annotations

import logging
from typing import Any, Protocol

from edge_emotion.config.diff import Changes
from edge_emotion.config.settings import Settings
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.overrides import CameraOverrides, OverrideStore
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.pipeline import Pipeline

PIPELINE_SECTIONS = "tracking.", "policy.", "quality.", "classifier.", "detector."
"""Settings that a pipeline is made with."""


class Maker(Protocol):
    """Makes cameras and their parts from settings and overrides, and describes the node."""

    @property
    def labels(self) -> tuple[str, ...]:
        """All emotions of the model."""

    def use(self, classifier: EmotionClassifier) -> EmotionClassifier:
        """Make everything with this classifier from now on; returns the one before."""

    def camera(self, settings: Settings, name: str, features: CameraOverrides) -> Camera:
        """A camera that is not opened yet. Raises EdgeEmotionError for what is missing or impossible."""

    def capture(self, settings: Settings, name: str) -> Capture:
        """A new thread for a camera, not started yet. Raises like ``camera``."""

    def pipeline(self, settings: Settings, name: str, features: CameraOverrides) -> Pipeline:
        """A new pipeline without tracks. Raises ConfigError."""

    def description(self, settings: Settings) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The node's info, and its device in Home Assistant if it has one."""


def apply_changes(changes: Changes, old: Settings, daemon: Daemon, maker: Maker, features: OverrideStore) -> None:
    """Apply what has changed since ``old``: first make all that is new, then put it in place.

    A camera with changed settings is opened again. Changes in PIPELINE_SECTIONS end the tracks of every camera, but not
    a changed threshold alone. Raises EdgeEmotionError if something cannot be made; then nothing has changed.
    """
    new = changes.settings
    fresh = [name for name, camera in new.cameras.items() if camera != old.cameras.get(name)]
    kept = [camera for camera in daemon.cameras if camera.name in new.cameras and camera.name not in fresh]
    made = [maker.camera(new, name, features[name]) for name in fresh]
    rules = [key for key in changes.applied if key.startswith(PIPELINE_SECTIONS)]
    changed = kept if set(rules) - {"policy.threshold"} else []
    pipelines = [maker.pipeline(new, camera.name, features[camera.name]) for camera in changed]

    for camera in [camera for camera in daemon.cameras if camera not in kept]:
        daemon.remove(camera)
    for camera, pipeline in zip(changed, pipelines, strict=True):
        daemon.replace_pipeline(camera, pipeline)
    for camera in kept:
        camera.pipeline.set_threshold(features[camera.name].threshold_in(new))
    for camera in made:
        daemon.add(camera)
    daemon.heartbeat, daemon.jitter = new.heartbeat, new.jitter
    logging.getLogger().setLevel(new.log_level.upper())


def use_classifier(
    classifier: EmotionClassifier, settings: Settings, daemon: Daemon, maker: Maker, features: OverrideStore
) -> None:
    """Go on with another classifier, between two frames: tracks end, new ones begin; the old one is closed.

    Raises EdgeEmotionError if it does not fit the settings or what was set over MQTT; then nothing has changed.
    """
    before = maker.use(classifier)
    try:
        made = [(camera, maker.pipeline(settings, camera.name, features[camera.name])) for camera in daemon.cameras]
    except BaseException:
        maker.use(before)
        raise
    for camera, pipeline in made:
        daemon.replace_pipeline(camera, pipeline)
    before.backend.close()

"""Cameras from settings: source, thread and pipeline of each. Adapters are imported when they are needed."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge_emotion.config.settings import (
    CameraSettings,
    PolicySettings,
    Settings,
    TrackingSettings,
)
from edge_emotion.config.source_spec import classify_source, picamera2_index
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.overrides import Features
from edge_emotion.factory.models import Models
from edge_emotion.factory.node_info import describe
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.outbox.event_counter import Sequence
from edge_emotion.pipeline.following import FaceFollower
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.pipeline.policy import Policy
from edge_emotion.pipeline.smoothing import Smoother
from edge_emotion.pipeline.tracking import Tracker
from edge_emotion.protocols import FaceDetector, FrameSource
from edge_emotion.wire.ulid import ulid

if TYPE_CHECKING:
    from edge_emotion.factory.models import ModelDetector

GRACE = 3.0
"""Seconds after a time-out within which an adapter must have reported it and given its device back."""


class CameraMaker:
    """Makes cameras as settings and features want them, all with the same models."""

    def __init__(
        self,
        models: Models,
        sequence: Sequence,
        changed: threading.Condition,
        *,
        fail_fast: bool = False,
    ) -> None:
        self.labels = models.classifier.manifest.labels
        self._models = models
        self._sequence, self._changed, self._fail_fast = sequence, changed, fail_fast

    def camera(self, settings: Settings, name: str, features: Features) -> Camera:
        """A camera that is not opened yet. Raises what its adapter raises for a missing library, ConfigError."""
        camera = Camera(self.capture(settings, name), self.pipeline(settings, name, features))
        camera.status = "opening" if features.enabled else "disabled"
        return camera

    def capture(self, settings: Settings, name: str) -> Capture:
        """The camera's thread, not started yet. Raises what the adapter raises for a missing library."""
        return make_capture(name, settings.cameras[name], self._changed, fail_fast=self._fail_fast)

    def pipeline(self, settings: Settings, name: str, features: Features) -> Pipeline:
        """A pipeline without tracks. Raises ConfigError for an unknown operating point or class."""
        options, shared = settings.classifier, self._models.classifier
        classifier = EmotionClassifier(
            shared.manifest,
            shared.backend,
            operating_point=options.operating_point,
            classes=features.classes or options.classes,
            entry=shared.entry,
            refused=shared.refused,
        )
        return make_pipeline(
            settings.node,
            name,
            self._models.detector,
            classifier,
            near=self._models.near,
            tracking=settings.tracking,
            policy=settings.policy.model_copy(update={"threshold": features.threshold_in(settings)}),
            interval=options.interval,
            idle_interval=settings.detector.idle_interval,
            refresh_interval=settings.detector.refresh_interval,
            next_seq=self._sequence,
        )

    def description(self, settings: Settings) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What the node says of itself, and its device in Home Assistant if it is to be there."""
        return describe(settings, self._models.classifier, self._models.detector)


def make_capture(
    name: str, camera: CameraSettings, changed: threading.Condition, *, fail_fast: bool = False
) -> Capture:
    """The thread of one camera. Only a recording can be processed without loss: a live source does not wait."""
    source = make_source(camera)
    return Capture(
        name,
        source,
        changed,
        max_fps=camera.max_fps,
        lossless=not camera.realtime and not source.live,
        fail_fast=fail_fast,
        # A recording is paced by its source, as slowly as it likes.
        open_patience=camera.open_timeout + GRACE if source.live else math.inf,
        read_patience=camera.read_timeout + GRACE if source.live else math.inf,
    )


def make_pipeline(
    node: str,
    camera: str,
    detector: FaceDetector,
    classifier: EmotionClassifier,
    *,
    near: ModelDetector | None = None,
    tracking: TrackingSettings,
    policy: PolicySettings,
    interval: float,
    idle_interval: float = 0.0,
    refresh_interval: float = 0.0,
    next_seq: Callable[[], int],
) -> Pipeline:
    """The pipeline of one camera, with trackers and smoothing of its own; ``near`` follows known faces."""
    return Pipeline(
        node=node,
        camera=camera,
        detector=detector,
        tracker=Tracker(iou=tracking.iou, confirm_hits=tracking.confirm_hits, max_gap=tracking.max_gap, make_id=ulid),
        classifier=classifier,
        smoother=Smoother(policy.time_constant),
        policy=Policy(threshold=policy.threshold, hysteresis=policy.hysteresis, min_dwell=policy.min_dwell),
        interval=interval,
        idle_interval=idle_interval,
        follower=None if near is None else make_follower(near),
        refresh_interval=refresh_interval,
        next_seq=next_seq,
        make_id=ulid,
    )


def make_follower(near: ModelDetector) -> FaceFollower:
    """Follows faces with a detector of close ones."""
    return FaceFollower(near, near.manifest.input.width)


def make_source(camera: CameraSettings) -> FrameSource:
    """The adapter for a camera's ``source``; nothing is opened yet."""
    kind = classify_source(camera.source)
    if kind == "images":
        from edge_emotion.sources.images import ImagesSource

        return ImagesSource(camera.source, fps=camera.fps or 5.0, loop=camera.loop, realtime=camera.realtime)
    if kind == "picamera2":
        from edge_emotion.sources.picamera2 import Picamera2Source

        return Picamera2Source(
            picamera2_index(camera.source),
            width=camera.width,
            height=camera.height,
            fps=camera.fps,
            open_timeout=camera.open_timeout,
            read_timeout=camera.read_timeout,
        )
    from edge_emotion.sources.opencv import OpenCvSource

    return OpenCvSource(
        camera.source,
        width=camera.width,
        height=camera.height,
        fps=camera.fps,
        open_timeout=camera.open_timeout,
        read_timeout=camera.read_timeout,
        loop=camera.loop,
        realtime=camera.realtime,
    )

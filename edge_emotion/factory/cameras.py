"""Cameras from settings: source, thread and pipeline of each. Adapters are imported when they are needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from edge_emotion.config.settings import CameraSettings, Settings
from edge_emotion.config.source_spec import classify_source, picamera2_index
from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture, Timing
from edge_emotion.daemon.overrides import CameraOverrides
from edge_emotion.factory.models import Models, far_detector, make_follower
from edge_emotion.factory.node_info import describe_node
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.pipeline.quality_gate import NeededConfidence
from edge_emotion.pipeline.settings import PipelineSettings
from edge_emotion.pipeline.view import View
from edge_emotion.protocols import FaceDetector, FrameSource

GRACE = 3.0
"""Seconds after a time-out within which an adapter must have reported it and released its device."""


class CameraMaker:
    """Makes cameras from settings and overrides, all with the same models; ``next_seq`` numbers their events."""

    def __init__(
        self,
        models: Models,
        next_seq: Callable[[], int],
        changed: threading.Condition,
        *,
        fail_fast: bool = False,
    ) -> None:
        self._models = models
        self._next_seq, self._changed, self._fail_fast = next_seq, changed, fail_fast

    @property
    def labels(self) -> tuple[str, ...]:
        """All emotions of the classifier."""
        return self._models.classifier.manifest.labels

    def use(self, classifier: EmotionClassifier) -> EmotionClassifier:
        """Make everything with this classifier from now on; returns the one before."""
        before, self._models = self._models.classifier, self._models._replace(classifier=classifier)
        return before

    def camera(self, settings: Settings, name: str, features: CameraOverrides) -> Camera:
        """A camera that is not opened yet. Raises BackendUnavailable for a missing library, ConfigError."""
        camera = Camera(self.capture(settings, name), self.pipeline(settings, name, features))
        camera.status = "opening" if features.enabled else "disabled"
        return camera

    def capture(self, settings: Settings, name: str) -> Capture:
        """The capture thread of the camera ``name``, not started. Raises BackendUnavailable for a missing library."""
        return make_capture(name, settings.cameras[name], self._changed, fail_fast=self._fail_fast)

    def pipeline(self, settings: Settings, name: str, features: CameraOverrides) -> Pipeline:
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
        numbers = replace(pipeline_settings(settings, name), threshold=features.threshold_in(settings))
        models = self._models._replace(classifier=classifier)
        detector = far_detector(models, settings.detector, settings.cameras[name], name)
        return make_pipeline(numbers, models, self._next_seq, detector=detector)

    def description(self, settings: Settings) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The payload of ``info``, and the node's device in Home Assistant if the settings want one."""
        return describe_node(settings, self._models.classifier, self._models.detector)


def make_capture(
    name: str,
    camera: CameraSettings,
    changed: threading.Condition,
    *,
    fail_fast: bool = False,
    timing: Timing | None = None,
) -> Capture:
    """The thread of one camera. Only a recording can be processed without loss: a live source does not wait.

    For a live source ``open`` and ``read`` of ``timing`` are replaced by the camera's own time-outs and GRACE.
    """
    source = make_source(camera)
    timing = timing or Timing()
    if source.live:  # a recording is paced by its source and has no limit
        timing = replace(timing, open=camera.open_timeout + GRACE, read=camera.read_timeout + GRACE)
    return Capture(
        name,
        source,
        changed,
        max_fps=camera.max_fps,
        lossless=not camera.realtime and not source.live,
        fail_fast=fail_fast,
        timing=timing,
    )


def pipeline_settings(settings: Settings, camera: str) -> PipelineSettings:
    """The part of the settings that the pipeline of one camera needs."""
    tracking, policy, detector = settings.tracking, settings.policy, settings.detector
    return PipelineSettings(
        node=settings.node,
        camera=camera,
        interval=settings.classifier.interval,
        idle_interval=detector.idle_interval,
        refresh_interval=detector.refresh_interval,
        idle_refresh_interval=detector.idle_refresh_interval,
        iou=tracking.iou,
        confirm_hits=tracking.confirm_hits,
        max_gap=tracking.max_gap,
        threshold=policy.threshold,
        hysteresis=policy.hysteresis,
        margin=policy.margin,
        min_dwell=policy.min_dwell,
        unknown_dwell=policy.unknown_dwell,
        time_constant=policy.time_constant,
        needed_confidence=NeededConfidence(**settings.quality.model_dump()),
        view=view_of(settings.cameras[camera]),
        find_upright=settings.cameras[camera].rotate == "auto",
        ignore_still=settings.cameras[camera].ignore_still,
        keep_known=settings.cameras[camera].range != "near",
    )


def view_of(camera: CameraSettings) -> View:
    """Rotation, flip, crop, mask and zones of a camera; with ``rotate: auto`` the rotation is 0 at first."""
    rotate = 0 if camera.rotate == "auto" else camera.rotate
    return View(rotate, camera.flip, camera.crop, camera.mask, camera.zones)


def make_pipeline(
    settings: PipelineSettings, models: Models, next_seq: Callable[[], int], *, detector: FaceDetector | None = None
) -> Pipeline:
    """The pipeline of one camera; tracks and smoothing are its own, the models may be shared.

    ``detector`` searches the whole picture instead of that of the models.
    """
    follower = None if models.near is None else make_follower(models.near)
    searched = models.detector if detector is None else detector
    return Pipeline(settings, searched, models.classifier, follower, models.quick, next_seq=next_seq)


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
    if kind == "stream" and camera.source.lower().startswith(("http://", "https://")):
        from edge_emotion.sources.http_camera import HttpSource

        return HttpSource(
            camera.source,
            fps=camera.fps,
            open_timeout=camera.open_timeout,
            read_timeout=camera.read_timeout,
            loop=camera.loop,
            realtime=camera.realtime,
        )
    from edge_emotion.sources.opencv import OpenCvSource

    return OpenCvSource(
        camera.source,
        width=camera.width,
        height=camera.height,
        fps=camera.fps,
        fourcc=camera.fourcc,
        open_timeout=camera.open_timeout,
        read_timeout=camera.read_timeout,
        loop=camera.loop,
        realtime=camera.realtime,
    )

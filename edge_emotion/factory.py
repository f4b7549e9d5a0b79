"""The composition root: names and settings become concrete adapters. The only importer of adapters, lazily."""

from __future__ import annotations

import logging
import math
import platform
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edge_emotion import __version__
from edge_emotion.camera import Camera
from edge_emotion.capture import Capture
from edge_emotion.classifier import EmotionClassifier
from edge_emotion.config import (
    CameraSettings,
    ClassifierSettings,
    DetectorSettings,
    PolicySettings,
    Settings,
    TrackingSettings,
)
from edge_emotion.control import Control
from edge_emotion.daemon import Daemon
from edge_emotion.discovery import device_config
from edge_emotion.features import Features, FeatureStore
from edge_emotion.following import FaceFollower
from edge_emotion.ids import ulid
from edge_emotion.loading import make_classifier, make_detector
from edge_emotion.machine import Machine
from edge_emotion.payload import Topics
from edge_emotion.pipeline import Pipeline
from edge_emotion.policy import Policy
from edge_emotion.protocols import ControlChannel, EventSink, FaceDetector, FrameSource
from edge_emotion.resident import MIB
from edge_emotion.sequence import Sequence
from edge_emotion.smoothing import Smoother
from edge_emotion.sources.spec import classify_source, picamera2_index
from edge_emotion.tracking import Tracker

if TYPE_CHECKING:
    from edge_emotion.detectors.blazeface import BlazeFaceDetector

log = logging.getLogger(__name__)

NEAR = "blazeface_short"
"""The detector that finds a known face in a square around its last place, whichever finds them in the whole picture."""

GRACE = 3.0
"""Seconds after a time-out within which an adapter must have reported it and given its device back."""


class Models(NamedTuple):
    """What a node computes with. ``near`` finds faces again that ``detector`` found; None if that costs no less."""

    detector: BlazeFaceDetector
    classifier: EmotionClassifier
    near: BlazeFaceDetector | None = None


def make_models(settings: Settings) -> Models:
    """The models that the settings name, with all their options."""
    return models_of(settings.detector, settings.classifier)


def models_of(detector: DetectorSettings, classifier: ClassifierSettings) -> Models:
    """The models that these name, and the detector that follows faces."""
    return Models(configured_detector(detector), configured_classifier(classifier), following_detector(detector))


def configured_detector(options: DetectorSettings) -> BlazeFaceDetector:
    """The detector with all its options. Raises ModelError or BackendUnavailable."""
    return make_detector(
        options.model,
        threshold=options.threshold,
        min_size=options.min_size,
        max_faces=options.max_faces,
        threads=options.threads,
    )


def following_detector(options: DetectorSettings) -> BlazeFaceDetector | None:
    """The detector that follows what another one finds, a little smaller perhaps, beside any number of others.

    None where the other one is that itself. Raises ModelError or BackendUnavailable.
    """
    if options.model == NEAR:
        return None
    smaller = math.floor(0.9 * options.min_size)
    return make_detector(NEAR, threshold=options.threshold, min_size=smaller, threads=options.threads)


def configured_classifier(options: ClassifierSettings) -> EmotionClassifier:
    """The classifier with all its options. Raises ModelError, ConfigError or BackendUnavailable."""
    return make_classifier(
        options.model,
        backend=options.backend,
        precision=options.precision,
        operating_point=options.operating_point,
        classes=options.classes,
        threads=options.threads,
    )


def make_daemon(settings: Settings, *, fail_fast: bool = False, load: Callable[[], Settings] | None = None) -> Daemon:
    """Everything that the settings name, wired together; no camera and no connection is opened yet.

    ``fail_fast`` ends the run when a camera cannot be opened the first time, instead of trying again. ``load`` gives
    the settings anew for a reload.
    """
    models = make_models(settings)
    sequence, changed = Sequence(settings.state_path, settings.node), threading.Condition()
    kept = None if sequence.folder is None else sequence.folder / f"{settings.node}.features.json"
    features = FeatureStore(kept, models.classifier.manifest.labels)
    maker = CameraMaker(models, sequence, changed, fail_fast=fail_fast)
    cameras = [maker.camera(settings, name, features[name]) for name in settings.cameras]
    heartbeat = settings.mqtt.heartbeat if settings.mqtt else 60.0
    sinks = make_sinks(settings, models.classifier, models.detector, sequence)
    max_rss = None if settings.max_rss is None else settings.max_rss * MIB
    daemon = Daemon(cameras, sinks, changed, sequence, heartbeat=heartbeat, max_rss=max_rss)
    channels = [sink for sink in sinks if isinstance(sink, ControlChannel)]
    Control(daemon, maker, settings, features, channels, load or (lambda: settings)).begin()
    return daemon


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
    near: BlazeFaceDetector | None = None,
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


def make_follower(near: BlazeFaceDetector) -> FaceFollower:
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


def make_sinks(
    settings: Settings, classifier: EmotionClassifier, detector: BlazeFaceDetector, sequence: Sequence | None = None
) -> list[EventSink]:
    """The sinks that the settings name; without ``sequence``, which knows the state directory, only to look at."""
    sinks: list[EventSink] = []
    if settings.jsonl is not None:
        from edge_emotion.sinks.jsonl import JsonlSink

        sinks.append(JsonlSink(settings.jsonl.path))
    if settings.mqtt is not None:
        from edge_emotion.sinks.mqtt import MqttSink

        info, device = describe(settings, classifier, detector)
        # A line of JSON is written at once: with such a sink the outbox alone does not know which numbers were seen.
        numbers = sequence if settings.jsonl is None else None
        sinks.append(
            MqttSink(
                settings.mqtt,
                settings.node,
                info,
                list(settings.cameras),
                device=device,
                state_dir=None if sequence is None else sequence.folder,
                numbers=numbers,
            )
        )
    return sinks


def describe(
    settings: Settings, classifier: EmotionClassifier, detector: BlazeFaceDetector
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The node's ``info``, and its device in Home Assistant if the settings want one; plain JSON values."""
    mqtt, device = settings.mqtt, None
    if mqtt is not None and mqtt.discovery.enabled:
        manifest, topics = classifier.manifest, Topics(mqtt.prefix, settings.node)
        device = device_config(topics, list(settings.cameras), manifest.labels, manifest.name, Machine().readings())
    return node_info(settings, classifier, detector), device


def node_info(settings: Settings, classifier: EmotionClassifier, detector: BlazeFaceDetector) -> dict[str, Any]:
    """What the node says about itself, plain JSON values. Sources are not in it: their URLs may hold passwords."""
    manifest, entry = classifier.manifest, classifier.entry
    return {
        "schema": 1,
        "node": settings.node,
        "version": __version__,
        "model": {
            "name": manifest.name,
            "version": manifest.version,
            "precision": entry.precision,
            "sha256": entry.sha256,
            "labels": list(classifier.labels),
            "refused": list(classifier.refused),
        },
        "detector": {"name": detector.manifest.name, "version": detector.manifest.version},
        "backend": classifier.backend.name,
        "host": {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()},
        "cameras": list(settings.cameras),
    }

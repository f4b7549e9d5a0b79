"""The composition root: names and settings become concrete adapters. The only importer of adapters, lazily."""

from __future__ import annotations

import logging
import math
import platform
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from edge_emotion import __version__
from edge_emotion.capture import Capture
from edge_emotion.classifier import EmotionClassifier
from edge_emotion.config import CameraSettings, PolicySettings, Settings, TrackingSettings
from edge_emotion.daemon import Camera, Daemon
from edge_emotion.errors import ModelError
from edge_emotion.golden import replay_golden
from edge_emotion.ids import ulid
from edge_emotion.manifest import DetectorManifest, ModelManifest, checked_file, find_model, load_manifest
from edge_emotion.pipeline import Pipeline
from edge_emotion.policy import Policy
from edge_emotion.protocols import EventSink, FaceDetector, FrameSource
from edge_emotion.resident import MIB
from edge_emotion.sequence import Sequence
from edge_emotion.smoothing import Smoother
from edge_emotion.sources.spec import classify_source, picamera2_index
from edge_emotion.tracking import Tracker

if TYPE_CHECKING:
    from edge_emotion.detectors.blazeface import BlazeFaceDetector

log = logging.getLogger(__name__)

GRACE = 3.0
"""Seconds after a time-out within which an adapter must have reported it and given its device back."""


def make_detector(
    name: str, *, threshold: float = 0.5, min_size: int = 0, max_faces: int = 64, threads: int = 1
) -> BlazeFaceDetector:
    """A shipped detector by name, or one by its folder. Raises ModelError if it is not what its manifest says."""
    from edge_emotion.backends.tflite import TfliteBackend
    from edge_emotion.detectors.blazeface import BlazeFaceDetector

    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, DetectorManifest):
        raise ModelError(f"{folder} is no face detector but does {manifest.task}")
    backend = TfliteBackend(checked_file(folder, manifest.file()), threads=threads)
    return BlazeFaceDetector(manifest, backend, threshold=threshold, min_size=min_size, max_faces=max_faces)


def make_classifier(
    name: str,
    *,
    precision: str | None = None,
    operating_point: str | None = None,
    classes: Iterable[str] | None = None,
    threads: int = 1,
) -> EmotionClassifier:
    """A shipped classifier by name, or one by its folder, checked: hash, labels, shapes, golden set.

    Raises ModelError if it is not what its manifest says or computes something else on this machine.
    """
    from edge_emotion.backends.tflite import TfliteBackend

    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, ModelManifest):
        raise ModelError(f"{folder} is no emotion classifier but does {manifest.task}")
    entry = manifest.file(precision)
    backend = TfliteBackend(checked_file(folder, entry), threads=threads)
    classifier = EmotionClassifier(manifest, backend, operating_point=operating_point, classes=classes)
    worst = replay_golden(manifest, backend, entry.precision)
    if worst is not None:
        log.debug("%s %s: golden set reproduced to %.3f by %s", manifest.name, entry.precision, worst, backend.name)
    return classifier


def make_models(settings: Settings) -> tuple[BlazeFaceDetector, EmotionClassifier]:
    """The detector and the classifier that the settings name, with all their options."""
    detection, options = settings.detector, settings.classifier
    detector = make_detector(
        detection.model,
        threshold=detection.threshold,
        min_size=detection.min_size,
        max_faces=detection.max_faces,
        threads=detection.threads,
    )
    classifier = make_classifier(
        options.model,
        precision=options.precision,
        operating_point=options.operating_point,
        classes=options.classes,
        threads=options.threads,
    )
    return detector, classifier


def make_daemon(settings: Settings, *, fail_fast: bool = False) -> Daemon:
    """Everything that the settings name, wired together; no camera and no connection is opened yet.

    ``fail_fast`` ends the run when a camera cannot be opened the first time, instead of trying again.
    """
    detector, classifier = make_models(settings)
    sequence, changed = Sequence(settings.state_path, settings.node), threading.Condition()

    def camera(name: str) -> Camera:
        pipeline = make_pipeline(
            settings.node,
            name,
            detector,
            classifier,
            tracking=settings.tracking,
            policy=settings.policy,
            interval=settings.classifier.interval,
            next_seq=sequence,
        )
        return Camera(make_capture(name, settings.cameras[name], changed, fail_fast=fail_fast), pipeline)

    heartbeat = settings.mqtt.heartbeat if settings.mqtt else 60.0
    sinks = make_sinks(settings, classifier, detector, sequence)
    max_rss = None if settings.max_rss is None else settings.max_rss * MIB
    cameras = [camera(name) for name in settings.cameras]
    return Daemon(cameras, sinks, changed, sequence, heartbeat=heartbeat, max_rss=max_rss)


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
    tracking: TrackingSettings,
    policy: PolicySettings,
    interval: float,
    next_seq: Callable[[], int],
) -> Pipeline:
    """The pipeline of one camera, with trackers and smoothing of its own."""
    return Pipeline(
        node=node,
        camera=camera,
        detector=detector,
        tracker=Tracker(iou=tracking.iou, confirm_hits=tracking.confirm_hits, max_gap=tracking.max_gap, make_id=ulid),
        classifier=classifier,
        smoother=Smoother(policy.time_constant),
        policy=Policy(threshold=policy.threshold, hysteresis=policy.hysteresis, min_dwell=policy.min_dwell),
        interval=interval,
        next_seq=next_seq,
        make_id=ulid,
    )


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

        info = node_info(settings, classifier, detector)
        # A line of JSON is written at once: with such a sink the outbox alone does not know which numbers were seen.
        numbers = sequence if settings.jsonl is None else None
        sinks.append(
            MqttSink(
                settings.mqtt,
                settings.node,
                info,
                list(settings.cameras),
                state_dir=None if sequence is None else sequence.folder,
                numbers=numbers,
            )
        )
    return sinks


def node_info(settings: Settings, classifier: EmotionClassifier, detector: BlazeFaceDetector) -> dict[str, Any]:
    """What the node says about itself, plain JSON values. Sources are not in it: their URLs may hold passwords."""
    manifest = classifier.manifest
    entry = manifest.file(settings.classifier.precision)
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
        },
        "detector": {"name": detector.manifest.name, "version": detector.manifest.version},
        "backend": classifier.backend.name,
        "host": {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()},
        "cameras": list(settings.cameras),
    }

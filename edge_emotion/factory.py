"""The composition root: names and settings become concrete adapters. The only importer of adapters, lazily."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from edge_emotion.classifier import EmotionClassifier
from edge_emotion.errors import ModelError
from edge_emotion.golden import replay_golden
from edge_emotion.manifest import DetectorManifest, ModelManifest, checked_file, find_model, load_manifest

if TYPE_CHECKING:
    from edge_emotion.detectors.blazeface import BlazeFaceDetector

log = logging.getLogger(__name__)


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

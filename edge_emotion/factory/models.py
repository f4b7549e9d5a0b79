"""Detectors and classifiers from model folders: choice of file and interpreter, hash, types and self-test."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from edge_emotion.config.settings import CameraSettings, ClassifierSettings, DetectorSettings, Range, Settings
from edge_emotion.errors import BackendUnavailable, ConfigError, ModelError
from edge_emotion.factory.interpreters import INTERPRETERS, guarding_model
from edge_emotion.factory.model_trial import try_out
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import DetectorManifest, ModelFile, ModelManifest
from edge_emotion.models.self_test import run_self_test
from edge_emotion.pipeline.following import FaceFollower
from edge_emotion.protocols import FaceDetector, InferenceBackend
from edge_emotion.system.processor import int8_is_fast

if TYPE_CHECKING:
    from edge_emotion.detectors.cascade import CascadeDetector

NEAR = "blazeface_short"
"""The short-range detector, which re-finds tracked faces near their last position."""


FAR = "yunet_640"
"""The detector that searches the tiles of large pictures."""

TILES = {"room": (960, 720), "hall": (640, 480)}
"""Width and height of a tile in pixels of the picture, by the ``range`` of a camera or of ``classify``."""

SMALLEST = 24
"""Pixels: smaller faces are not looked for in tiles of photographs."""

NO_MODEL, AUTO = "none", "auto"
"""Names for no model, and for the one that suits the others."""

QUICK = "yunet"
"""The fast detector of ``AUTO``."""

MOST_SURE = 0.95
"""A score that every detector gives to clear faces, whatever the threshold."""

log = logging.getLogger(__name__)


class ModelDetector(FaceDetector, Protocol):
    """A face detector that runs a model file."""

    manifest: DetectorManifest
    backend: InferenceBackend


def choose_files(
    manifest: ModelManifest, precision: str | None = None, backend: str = "auto"
) -> tuple[tuple[ModelFile, ...], str]:
    """The files of a model in the order in which they are tried, and the name of what runs them.

    Raises ModelError if the model has no such file, BackendUnavailable for a backend that is not there.
    """
    if backend == "auto":
        reads = manifest.file(precision).format
        backend = next(name for name, one in INTERPRETERS.items() if one.format == reads)
    elif backend not in INTERPRETERS:
        raise BackendUnavailable(f"no backend {backend!r} in this installation; there are: {', '.join(INTERPRETERS)}")
    first = manifest.file(precision, INTERPRETERS[backend].format)
    others = (entry for entry in manifest.files if entry.format == first.format and entry is not first)
    return (first, *others) if precision is None else (first,), backend


def make_detector(
    name: str,
    *,
    precision: str | None = None,
    threshold: float = 0.5,
    min_size: int = 0,
    max_faces: int = 64,
    threads: int = 1,
) -> ModelDetector:
    """A shipped detector by name, or one by its folder. Raises ModelError if it does not agree with its manifest."""
    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, DetectorManifest):
        raise ModelError(f"{folder} is no face detector but does {manifest.task}")
    entry = manifest.file(precision)
    with guarding_model(entry.file):
        backend = _make(folder, entry, "tflite", threads)
        if manifest.family == "yunet":
            from edge_emotion.detectors.yunet import YuNetDetector

            return YuNetDetector(manifest, backend, threshold=threshold, min_size=min_size, max_faces=max_faces)
        from edge_emotion.detectors.blazeface import BlazeFaceDetector

        return BlazeFaceDetector(manifest, backend, threshold=threshold, min_size=min_size, max_faces=max_faces)


def make_classifier(
    name: str,
    *,
    backend: str = "auto",
    precision: str | None = None,
    operating_point: str | None = None,
    classes: Iterable[str] | None = None,
    threads: int = 1,
) -> EmotionClassifier:
    """A shipped classifier by name, or one by its folder, checked: hash, labels, types, shapes, golden set.

    ``backend`` is one of INTERPRETERS, or 'auto'. Without a ``precision`` the first file that passes is taken: where
    int8 fails the self-test, the next one is tried, with a line in the log. Raises ModelError if no file agrees with
    its manifest and passes its self-test here, BackendUnavailable if a library is missing.
    """
    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, ModelManifest):
        raise ModelError(f"{folder} is no emotion classifier but does {manifest.task}")
    entries, chosen = choose_files(manifest, precision, backend)
    refused: list[str] = []
    for entry in entries:
        runner: InferenceBackend | None = None
        try:
            with guarding_model(entry.file):
                runner = _make(folder, entry, chosen, threads)
                classifier = EmotionClassifier(
                    manifest, runner, entry=entry, operating_point=operating_point, classes=classes, refused=refused
                )
                worst = run_self_test(classifier, entry)
        except ModelError as error:
            if runner is not None:
                runner.close()
            refused.append(str(error))
            if entry is not entries[-1]:
                log.warning("%s; trying the next precision", error)
            continue
        if worst is not None:
            log.debug("%s: golden set reproduced to %.3f by %s", entry.file, worst, runner.name)
        return classifier
    raise ModelError("; ".join(refused))


def _make(folder: Path, entry: ModelFile, interpreter: str, threads: int) -> InferenceBackend:
    """The backend of a file with the promised hash, which ended no process. Raises ModelError, BackendUnavailable."""
    path = checked_file(folder, entry)
    try_out(path, entry, interpreter, threads)
    return INTERPRETERS[interpreter].make(path, entry, threads)


class Models(NamedTuple):
    """The models of a node. ``near`` is the short-range detector; None if ``detector`` is that one itself.

    ``quick`` searches the whole picture between two searches by ``detector``.
    """

    detector: ModelDetector
    classifier: EmotionClassifier
    near: ModelDetector | None = None
    quick: CascadeDetector | None = None

    @property
    def finders(self) -> tuple[ModelDetector, ...]:
        """The detectors, each with a file of its own."""
        proposer = None if self.quick is None else cast("ModelDetector", self.quick.proposer)  # ``cascade`` made it
        return tuple(one for one in (self.detector, self.near, proposer) if one is not None)


def make_models(settings: Settings) -> Models:
    """The models that the settings name, with all their options."""
    return models_of(settings.detector, settings.classifier)


def models_of(detector: DetectorSettings, classifier: ClassifierSettings | EmotionClassifier) -> Models:
    """The models that these name, and the detector that follows faces. A classifier may be there already."""
    near = following_detector(detector)
    made = classifier if isinstance(classifier, EmotionClassifier) else configured_classifier(classifier)
    return Models(configured_detector(detector), made, near, quick_detector(detector, near))


def configured_detector(options: DetectorSettings) -> ModelDetector:
    """The detector with all its options. Raises ModelError or BackendUnavailable."""
    return make_detector(
        options.model,
        threshold=options.threshold,
        min_size=options.min_size,
        max_faces=options.max_faces,
        threads=options.threads,
    )


def following_detector(options: DetectorSettings) -> ModelDetector | None:
    """Short-range detector that re-finds tracked faces; None if it already is the main detector.

    Its least size is a little smaller and its number of faces is not limited, so that no tracked face is left out.
    Raises ModelError or BackendUnavailable.
    """
    if options.model == NEAR:
        return None
    smaller = math.floor(0.9 * options.min_size)
    return make_detector(NEAR, threshold=options.threshold, min_size=smaller, threads=options.threads)


def make_follower(near: ModelDetector) -> FaceFollower:
    """Follows faces with a detector of close ones."""
    return FaceFollower(near, near.manifest.input.width)


def quick_detector(options: DetectorSettings, near: ModelDetector | None) -> CascadeDetector | None:
    """The cascade that searches between two searches by the detector; None without a ``quick_model``.

    Raises ConfigError where nothing can confirm what a model named there proposes, ModelError or BackendUnavailable.
    """
    model = options.quick_model
    if model == AUTO:
        model = NO_MODEL if near is None else QUICK
    if model == NO_MODEL:
        return None
    if near is None:
        raise ConfigError(
            f"detector.quick_model {model}: its faces are confirmed by {NEAR}, which detector.model is "
            f"already: set quick_model to {NO_MODEL}, or another model"
        )
    return cascade(model, options, near)


def cascade(model: str, options: DetectorSettings, near: ModelDetector) -> CascadeDetector:
    """A detector whose faces ``near`` confirms. Raises ModelError or BackendUnavailable."""
    from edge_emotion.detectors.cascade import ALONE, PROPOSED, CascadeDetector

    proposer = make_detector(
        model,
        precision=fastest_precision(model),
        threshold=PROPOSED * options.threshold,
        min_size=math.floor(0.9 * options.min_size),
        threads=options.threads,
    )
    return CascadeDetector(
        proposer,
        make_follower(near),
        alone=min(ALONE * options.threshold, MOST_SURE),
        min_size=options.min_size,
        max_faces=options.max_faces,
    )


def far_detector(models: Models, options: DetectorSettings, camera: CameraSettings, name: str) -> FaceDetector:
    """The detector of a camera called ``name``, with one for tiles of its pictures where its ``range`` wants that.

    Raises ConfigError where nothing can confirm the faces in tiles, ModelError or BackendUnavailable.
    """
    if camera.range == "near":
        return models.detector
    if models.near is None:
        raise ConfigError(
            f"cameras.{name}.range {camera.range}: faces in tiles are confirmed by {NEAR}, which detector.model is "
            "already: set range: near, or another detector.model"
        )
    from edge_emotion.detectors.tiled import TiledDetector

    width, height = TILES[camera.range]
    part, label = cascade(FAR, options, models.near), f"camera {name}, range {camera.range}"
    return TiledDetector(models.detector, part, width=width, height=height, max_faces=options.max_faces, name=label)


def photograph_detector(name: str, *, reach: Range = "room", threads: int = 1) -> FaceDetector:
    """The detector ``name`` for single pictures: where they are larger than a tile, all tiles are searched, too.

    Raises ModelError or BackendUnavailable.
    """
    whole = make_detector(name, threads=threads)
    if reach == "near":
        return whole
    from edge_emotion.detectors.tiled import TiledDetector

    options = DetectorSettings(model=name, min_size=SMALLEST, max_faces=64, threads=threads)
    width, height = TILES[reach]
    part = cascade(FAR, options, make_detector(NEAR, threads=threads))
    return TiledDetector(whole, part, width=width, height=height, per_call=None)


def fastest_precision(name: str) -> str | None:
    """The precision of the file of a detector that is fastest here; None: its first. Raises ModelError."""
    files = load_manifest(find_model(name)).files
    return "float32" if not int8_is_fast() and any(entry.precision == "float32" for entry in files) else None


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

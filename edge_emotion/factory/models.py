"""Model folders become detectors and classifiers: which file, what runs it, whether it may be trusted here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings, Settings
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import DetectorManifest, ModelFile, ModelManifest
from edge_emotion.models.self_test import replay_golden
from edge_emotion.protocols import FaceDetector, InferenceBackend
from edge_emotion.system.paths import cache_dir

NEAR = "blazeface_short"
"""The detector that finds a known face in a square around its last place, whichever finds them in the whole picture."""


log = logging.getLogger(__name__)


class ModelDetector(FaceDetector, Protocol):
    """A face detector that runs a model file."""

    manifest: DetectorManifest
    backend: InferenceBackend


def _tflite(path: Path, entry: ModelFile, threads: int) -> InferenceBackend:
    from edge_emotion.backends.tflite import TfliteBackend

    backend = TfliteBackend(path, threads=threads)
    _check_types(entry, backend.types)
    return backend


def _onnxruntime(path: Path, entry: ModelFile, threads: int) -> InferenceBackend:
    from edge_emotion.backends.onnx import OnnxBackend

    backend = OnnxBackend(path, threads=threads)
    _check_types(entry, backend.types)
    return backend


def _check_types(entry: ModelFile, types: Sequence[str]) -> None:
    """Raises ModelError if a file's types, of its input and then of its outputs, are not what the manifest says."""
    said, *outputs = types
    if said != entry.input_type or set(outputs) != {entry.output_type}:
        raise ModelError(
            f"{entry.file} takes {said} and gives {' and '.join(outputs)}, its manifest says {entry.input_type} and "
            f"{entry.output_type}: file and manifest do not belong together"
        )


def _tensorrt(path: Path, entry: ModelFile, _: int) -> InferenceBackend:
    """An engine has types of its own."""
    from edge_emotion.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(path, sha256=entry.sha256, precision=entry.precision, cache_dir=cache_dir())


class Interpreter(NamedTuple):
    """What makes a backend of a checked file of one format, its entry in the manifest, and a number of threads."""

    format: str
    make: Callable[[Path, ModelFile, int], InferenceBackend]


INTERPRETERS = {
    "tflite": Interpreter("tflite", _tflite),
    "onnxruntime": Interpreter("onnx", _onnxruntime),
    "tensorrt": Interpreter("onnx", _tensorrt),
}
"""By their name in ``classifier.backend``. 'auto' takes the first that reads the format of the model's file."""


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
    """A shipped detector by name, or one by its folder. Raises ModelError if it is not what its manifest says."""
    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, DetectorManifest):
        raise ModelError(f"{folder} is no face detector but does {manifest.task}")
    entry = manifest.file(precision)
    backend = _tflite(checked_file(folder, entry), entry, threads)
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
    int8 computes something else, the next one is, and this is said. Raises ModelError if none is what its manifest says
    and computes here what it promises, BackendUnavailable if a library is missing.
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
            runner = INTERPRETERS[chosen].make(checked_file(folder, entry), entry, threads)
            classifier = EmotionClassifier(
                manifest, runner, entry=entry, operating_point=operating_point, classes=classes, refused=refused
            )
            worst = replay_golden(classifier, entry)
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


class Models(NamedTuple):
    """What a node computes with. ``near`` finds faces again that ``detector`` found; None if that costs no less."""

    detector: ModelDetector
    classifier: EmotionClassifier
    near: ModelDetector | None = None


def make_models(settings: Settings) -> Models:
    """The models that the settings name, with all their options."""
    return models_of(settings.detector, settings.classifier)


def models_of(detector: DetectorSettings, classifier: ClassifierSettings) -> Models:
    """The models that these name, and the detector that follows faces."""
    return Models(configured_detector(detector), configured_classifier(classifier), following_detector(detector))


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

"""Detectors and classifiers from model folders: choice of file and interpreter, hash, types and self-test."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge_emotion.config.settings import ClassifierSettings, DetectorSettings, Settings
from edge_emotion.errors import BackendUnavailable, EdgeEmotionError, ModelError
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.models.folder import checked_file, find_model, load_manifest
from edge_emotion.models.manifest import DetectorManifest, ModelFile, ModelManifest
from edge_emotion.models.self_test import run_self_test
from edge_emotion.protocols import InferenceBackend
from edge_emotion.system.paths import cache_dir

if TYPE_CHECKING:
    from edge_emotion.detectors.blazeface import BlazeFaceDetector

NEAR = "blazeface_short"
"""The short-range detector, which re-finds tracked faces near their last position."""


log = logging.getLogger(__name__)


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
    """Raises ModelError if the types of a file's input and outputs differ from the manifest."""
    taken, *outputs = types
    if taken != entry.input_type or set(outputs) != {entry.output_type}:
        raise ModelError(
            f"{entry.file} takes {taken} and gives {' and '.join(outputs)}, its manifest says {entry.input_type} and "
            f"{entry.output_type}: file and manifest do not belong together"
        )


def _tensorrt(path: Path, entry: ModelFile, _: int) -> InferenceBackend:
    """The TensorRT backend of an ONNX file. The file's types are not compared: an engine chooses its own."""
    from edge_emotion.backends.tensorrt import TensorRtBackend

    return TensorRtBackend(path, sha256=entry.sha256, precision=entry.precision, cache_dir=cache_dir())


class Interpreter(NamedTuple):
    """Makes a backend from a checked file of one format, its entry in the manifest, and a number of threads."""

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
    name: str, *, threshold: float = 0.5, min_size: int = 0, max_faces: int = 64, threads: int = 1
) -> BlazeFaceDetector:
    """A shipped detector by name, or one by its folder. Raises ModelError if it does not agree with its manifest."""
    from edge_emotion.detectors.blazeface import BlazeFaceDetector

    folder = find_model(name)
    manifest = load_manifest(folder)
    if not isinstance(manifest, DetectorManifest):
        raise ModelError(f"{folder} is no face detector but does {manifest.task}")
    entry = manifest.file()
    with guarding_model(entry.file):
        backend = _tflite(checked_file(folder, entry), entry, threads)
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
                runner = INTERPRETERS[chosen].make(checked_file(folder, entry), entry, threads)
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


@contextmanager
def guarding_model(file: str) -> Iterator[None]:
    """Whatever a model file makes an interpreter raise becomes a ModelError of one line, with the file's name.

    Lack of memory is no fault of the file, and EdgeEmotionErrors are explained already.
    """
    try:
        yield
    except (EdgeEmotionError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file} cannot be used: {type(error).__name__}: {reason}") from error


class Models(NamedTuple):
    """The models of a node. ``near`` is the short-range detector; None if ``detector`` is that one itself."""

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
    """Short-range detector that re-finds tracked faces; None if it already is the main detector.

    Its least size is a little smaller and its number of faces is not limited, so that no tracked face is left out.
    Raises ModelError or BackendUnavailable.
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

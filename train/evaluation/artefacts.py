"""The ways to run the files of a model folder on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from edge_emotion.backends.tflite import TfliteBackend
from edge_emotion.factory.interpreters import INTERPRETERS
from edge_emotion.models.folder import checked_file
from edge_emotion.models.manifest import ModelFile, ModelManifest
from edge_emotion.protocols import InferenceBackend


class Artefact(NamedTuple):
    """A file of a model in one backend. ``make`` raises BackendUnavailable where that backend is not installed."""

    name: str
    entry: ModelFile
    make: Callable[[], InferenceBackend]


def artefacts(manifest: ModelManifest, folder: Path, backend: str | None = None) -> Iterator[Artefact]:
    """Artefacts by file, then by backend: those of ``backend``, or of all but TensorRT, which builds for minutes.

    Raises ModelError for a file that differs from the manifest.
    """
    for entry in manifest.files:
        path = checked_file(folder, entry)
        if entry.format == "tflite" and backend in (None, "tflite"):
            yield Artefact(f"{entry.file} (XNNPACK)", entry, partial(TfliteBackend, path))
            yield Artefact(f"{entry.file} (plain kernels)", entry, partial(TfliteBackend, path, plain_kernels=True))
        if entry.format == "onnx" and backend in (None, "onnxruntime"):
            make = partial(INTERPRETERS["onnxruntime"].make, path, entry, 1)
            yield Artefact(f"{entry.file} (onnxruntime)", entry, make)
        if entry.format == "onnx" and backend == "tensorrt":
            yield Artefact(f"{entry.file} (TensorRT)", entry, partial(INTERPRETERS["tensorrt"].make, path, entry, 1))

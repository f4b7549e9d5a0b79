"""The interpreters of model files, by the names that ``classifier.backend`` may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edge_emotion.errors import EdgeEmotionError, ModelError
from edge_emotion.models.manifest import ModelFile
from edge_emotion.protocols import InferenceBackend
from edge_emotion.system.paths import cache_dir


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


@contextmanager
def guarding_model(file: str) -> Iterator[None]:
    """A context in which what an interpreter raises becomes a ModelError of one line, with the name of the model file.

    MemoryError, which is no fault of the file, and EdgeEmotionError, which is explained already, pass unchanged.
    """
    try:
        yield
    except (EdgeEmotionError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{file} cannot be used: {type(error).__name__}: {reason}") from error

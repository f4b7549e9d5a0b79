"""ONNX files, through onnxruntime: on the CPU, or on a GPU where its package has CUDA or TensorRT."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edge_emotion.backends.batches import MAX_BATCH, check_batch, run_in_pieces
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.protocols import FloatArray, ModelInput

PROVIDERS = {"CUDAExecutionProvider": "CUDA", "CPUExecutionProvider": "CPU"}
"""Providers that are used by default, the preferred one first, and their common names. onnxruntime's TensorRT
provider is used only on request: it builds an engine at each start, for minutes."""

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxBackend:
    """One ONNX file with one input N x H x W x C, float32 or float16.

    ``providers`` are onnxruntime's execution providers, the preferred one first; what they cannot do falls to the
    CPU. ``optimise=False`` switches graph optimisations off, for comparison. Raises BackendUnavailable without
    onnxruntime or for a provider that its package lacks, ModelError for a file that it cannot load.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, providers: Sequence[str] | None = None, optimise: bool = True
    ) -> None:
        runtime = _runtime()
        self._path = path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read model file {path}: {error.strerror}") from error
        chosen = _providers(runtime, providers)
        with self._refusing("loaded as an ONNX model"):
            self._session: Any = _session(runtime, content, chosen, threads, optimise)
        used = str(self._session.get_providers()[0])
        self.name = f"onnxruntime {runtime.__version__} ({PROVIDERS.get(used, used)})"
        if not optimise:
            self.name += " without optimisations"
        self._input, self._type, self._limit = self._check_input()
        self._outputs = tuple(self._dimensions(output) for output in self._session.get_outputs())

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Height, width, channels."""
        return self._input[1]

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Without the batch axis, in the file's order."""
        return self._outputs

    @property
    def types(self) -> tuple[str, ...]:
        """The file's own types: of the input, then of each output; by NumPy's names where they are floats."""
        values = (*self._session.get_inputs(), *self._session.get_outputs())
        return tuple(np.dtype(TYPES[value.type]).name if value.type in TYPES else str(value.type) for value in values)

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """Float in, float out. Raises ModelError for another input shape."""
        check_batch(self._path, batch, self.input_shape)
        with self._refusing("run"):
            return run_in_pieces(self._run_piece, batch, self._limit)

    def bare_call(self, batch: ModelInput) -> Callable[[], object]:
        """A function that runs onnxruntime on ``batch`` without anything around it: for measuring the model alone."""
        check_batch(self._path, batch, self.input_shape)
        return partial(self._session.run, None, {self._input[0]: batch.astype(self._type, copy=False)})

    def close(self) -> None:
        """Drop the session, which frees its memory."""
        self._session = None

    def _run_piece(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        outputs = self._session.run(None, {self._input[0]: batch.astype(self._type, copy=False)})
        return tuple(output.astype(np.float32, copy=False) for output in outputs)

    def _check_input(self) -> tuple[tuple[str, tuple[int, ...]], Any, int]:
        """Name and shape of the one input, its type, and how many pictures one call takes."""
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in TYPES or len(inputs[0].shape) != 4:
            found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in inputs)
            raise ModelError(f"{self._path} must take one float32 or float16 N x H x W x C, not {found or 'nothing'}")
        fixed = inputs[0].shape[0]
        if isinstance(fixed, int) and fixed != 1:
            raise ModelError(f"{self._path} takes {fixed} pictures at once; export it with a free batch axis")
        return (inputs[0].name, self._dimensions(inputs[0])), TYPES[inputs[0].type], 1 if fixed == 1 else MAX_BATCH

    def _dimensions(self, value: Any) -> tuple[int, ...]:
        if not all(isinstance(size, int) for size in value.shape[1:]):
            raise ModelError(f"{self._path}: only the batch axis may be free, {value.name} is {value.shape}")
        return tuple(value.shape[1:])

    @contextmanager
    def _refusing(self, what: str) -> Iterator[None]:
        """An error of onnxruntime's as one line. Its classes share no base but Exception."""
        try:
            yield
        except Exception as error:
            if not type(error).__module__.startswith("onnxruntime"):
                raise
            reason = str(error).splitlines()[0]
            raise ModelError(f"{self._path} cannot be {what} (onnxruntime): {reason}") from error


def _runtime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise BackendUnavailable(
            "onnxruntime is not installed: pip install 'edge-emotion[onnx]' (on a Jetson NVIDIA's onnxruntime-gpu)"
        ) from error
    except ImportError as error:
        raise BackendUnavailable(f"onnxruntime is installed but cannot be imported: {error}") from error


def _providers(runtime: ModuleType, wanted: Sequence[str] | None) -> list[str]:
    available = runtime.get_available_providers()
    if wanted is None:
        return [name for name in PROVIDERS if name in available]
    for name in wanted:
        if name not in available:
            raise BackendUnavailable(
                f"this onnxruntime has no {name}, it has {', '.join(available)}: pip install onnxruntime-gpu"
            )
    return list(wanted)


def _session(runtime: ModuleType, content: bytes, providers: Sequence[Any], threads: int, optimise: bool) -> Any:
    """A session that computes int8 exactly on every processor, where onnxruntime can make one for this file."""
    exact = _options(runtime, threads, optimise)
    # Without VNNI, x86-64 adds two products of int8 in 16 bits, which saturate: logits were wrong by up to 2 of 8.
    exact.add_session_config_entry("session.x64quantprecision", "1")
    try:
        return runtime.InferenceSession(content, exact, providers=providers)
    except Exception:  # noqa: BLE001 - its errors share no base; kernels of a file of others may share a zero point
        return runtime.InferenceSession(content, _options(runtime, threads, optimise), providers=providers)


def _options(runtime: ModuleType, threads: int, optimise: bool) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait would keep a device busy between two faces.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not optimise:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options

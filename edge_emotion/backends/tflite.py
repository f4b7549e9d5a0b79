"""TFLite files, through LiteRT (``ai_edge_litert``) or its predecessor ``tflite_runtime``."""

from __future__ import annotations

import ctypes
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_emotion.backends.batches import MAX_BATCH, check_batch, run_in_pieces
from edge_emotion.errors import BackendUnavailable, ModelError
from edge_emotion.protocols import FloatArray, ModelInput

PACKAGES = {"ai_edge_litert.interpreter": "ai-edge-litert", "tflite_runtime.interpreter": "tflite-runtime"}
"""Module -> distribution, the preferred one first."""

_announced = False


class Operation(NamedTuple):
    """One operator of a network: its name, and the shapes of what goes in and comes out."""

    name: str
    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]


class TfliteBackend:
    """One TFLite file. ``plain_kernels`` switches the XNNPACK delegate off, for comparison.

    ``delegate`` is the library of another one (``libedgetpu.so.1``), that takes over what it can; the rest is computed
    by plain kernels. Raises BackendUnavailable without an interpreter package or that library, ModelError for a file
    that it cannot load, or of which the delegate takes over nothing.
    """

    def __init__(
        self, path: Path, *, threads: int = 1, plain_kernels: bool = False, delegate: str | None = None
    ) -> None:
        self._module, distribution = _interpreter_module()
        self._path = path
        try:
            # Kept: an upgrade may replace the file under a running daemon, which loads further batch sizes later.
            self._content = path.read_bytes()
        except OSError as error:
            raise ModelError(f"cannot read model file {path}: {error.strerror}") from error
        self._options: dict[str, Any] = {"num_threads": threads}
        if plain_kernels or delegate:
            resolver = self._module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            self._options["experimental_op_resolver_type"] = resolver
        self.name = distribution + (" without delegate" if plain_kernels else f" with {delegate}" if delegate else "")
        if delegate:
            self._options["experimental_delegates"] = [_load_delegate(self._module, delegate)]
        first = self._load(1)
        self._interpreters = {1: first}  # one per batch size: resizing one costs more
        if delegate and not self.delegated:
            raise ModelError(f"{delegate} takes over nothing of {path}: was the file made for it?")
        self._input = first.get_input_details()[0]
        self._outputs = first.get_output_details()
        self.input_shape = tuple(map(int, self._input["shape"][1:]))
        """Height, width, channels."""
        self._resizable = int(self._input["shape_signature"][0]) == -1

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Without the batch axis, in the file's order."""
        return tuple(tuple(map(int, output["shape"][1:])) for output in self._outputs)

    @property
    def types(self) -> tuple[str, ...]:
        """The file's own types by NumPy's names: of the input, then of each output."""
        return tuple(np.dtype(tensor["dtype"]).name for tensor in (self._input, *self._outputs))

    @property
    def delegated(self) -> bool:
        """True if a delegate (XNNPACK on a processor) computes at least a part of the network."""
        # There is no public way to ask. A part that a delegate has taken over appears as one more operator.
        details = self._interpreters[1]._get_ops_details()
        return any(operator["op_name"] == "DELEGATE" for operator in details)

    @property
    def tensors(self) -> list[dict[str, Any]]:
        """The interpreter's own description of every tensor: name, shape, dtype, quantization (scale, zero point)."""
        return list(self._interpreters[1].get_tensor_details())

    @property
    def operators(self) -> list[str]:
        """The names of the operators in the order in which they run; a delegate that took some over is one of them."""
        return [str(operator["op_name"]) for operator in self._interpreters[1]._get_ops_details()]

    @property
    def operations(self) -> list[Operation]:
        """As ``operators``, with shapes, for a batch of one; an input that is left out has the shape ()."""
        shapes = {int(tensor["index"]): tuple(map(int, tensor["shape"])) for tensor in self.tensors}

        def of(indices: Iterable[int]) -> tuple[tuple[int, ...], ...]:
            return tuple(shapes.get(int(index), ()) for index in indices)

        details = self._interpreters[1]._get_ops_details()
        return [Operation(str(one["op_name"]), of(one["inputs"]), of(one["outputs"])) for one in details]

    @property
    def activation_bytes(self) -> int:
        """The most bytes of activations that are needed at once, for a batch of one, if nothing is computed in place.

        The interpreter does not tell how large its arena is; buffers of kernels and alignment come on top. Meaningful
        with plain kernels only: a delegate keeps its own activations.
        """
        sizes = {
            int(one["index"]): prod(map(int, one["shape"])) * np.dtype(one["dtype"]).itemsize for one in self.tensors
        }
        operators = self._interpreters[1]._get_ops_details()
        last = {int(index): at for at, one in enumerate(operators) for index in one["inputs"]}
        last |= {int(output["index"]): len(operators) for output in self._outputs}
        alive, most = {int(self._input["index"])}, 0
        for at, one in enumerate(operators):
            alive |= {int(index) for index in one["outputs"]}
            most = max(most, sum(sizes[index] for index in alive))
            alive = {index for index in alive if last.get(index, at) > at}
        return most

    def constants(self, dtype: npt.DTypeLike) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Name and values of each tensor of a type that the file itself holds, and an operator reads.

        Meaningful with plain kernels only, as a delegate hides what it reads. Kernels keep tensors of their own, too,
        without a name and with anything in them before the first run.
        """
        interpreter = self._load(1)
        operators = interpreter._get_ops_details()
        read = {int(index) for one in operators for index in one["inputs"]}
        computed = {int(index) for one in operators for index in one["outputs"]} | {int(self._input["index"])}
        for tensor in interpreter.get_tensor_details():
            if tensor["dtype"] == dtype and tensor["index"] in read - computed:
                yield tensor["name"], interpreter.get_tensor(tensor["index"])

    @property
    def input_quantization(self) -> tuple[float, int]:
        """Scale and zero point of the input; (0, 0) for a float input."""
        scale, zero_point = self._input["quantization"]
        return float(scale), int(zero_point)

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """Float or uint8 in, float out, whatever the tensors' types. Raises ModelError for another input shape."""
        check_batch(self._path, batch, self.input_shape)
        return run_in_pieces(self._run_piece, batch, MAX_BATCH if self._resizable else 1)

    def bare_call(self, batch: ModelInput) -> Callable[[], object]:
        """The interpreter's own call with ``batch`` in place and nothing around it: what the model alone costs."""
        check_batch(self._path, batch, self.input_shape)
        bare: Callable[[], object] = self._fill(batch).invoke
        return bare

    def close(self) -> None:
        """Forget the interpreters; they free their memory."""
        self._interpreters.clear()

    def _fill(self, batch: ModelInput) -> Any:
        """The interpreter of this size of a batch, with the batch in its input."""
        interpreter = self._interpreters.get(len(batch))
        if interpreter is None:
            interpreter = self._interpreters[len(batch)] = self._load(len(batch))
        interpreter.set_tensor(self._input["index"], quantise(batch, self._input))
        return interpreter

    def _run_piece(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        interpreter = self._fill(batch)
        try:
            interpreter.invoke()
        except RuntimeError as error:
            raise ModelError(f"{self._path} cannot be run ({self.name}): {str(error).splitlines()[0]}") from error
        return tuple(dequantise(interpreter.get_tensor(output["index"]), output) for output in self._outputs)

    def _load(self, batch_size: int) -> Any:
        try:
            with _first_message_hidden():
                interpreter = self._module.Interpreter(model_content=self._content, **self._options)
                if batch_size > 1:
                    details = interpreter.get_input_details()[0]
                    interpreter.resize_tensor_input(details["index"], [batch_size, *details["shape"][1:]])
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError, SystemError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError(f"{self._path} cannot be loaded as a TFLite model ({self.name}): {reason}") from error
        return interpreter


@contextmanager
def _first_message_hidden() -> Iterator[None]:
    """Keeps the interpreter from announcing its delegate on the error stream, where people look for errors.

    It does so once per process, when the first model is loaded: no thread of ours runs yet that could have something
    to say there. What goes wrong comes as an exception all the same.
    """
    global _announced
    if _announced:
        yield
        return
    _announced = True
    try:
        kept = os.dup(2)
    except OSError:  # there is no error stream
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def quantise(values: ModelInput, tensor: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Values in the type of ``tensor``; if integer, round(value / scale) (half to even) + zero_point, clipped."""
    dtype = np.dtype(tensor["dtype"])
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    scale, zero_point = tensor["quantization"]
    if values.dtype == np.uint8 and dtype == np.int8 and (scale, zero_point) == (1.0, -128):
        flipped: npt.NDArray[np.uint8] = values ^ np.uint8(128)
        return flipped.view(np.int8)  # pixel - 128, without a copy in float32
    least, most = _limits(dtype)
    steps: npt.NDArray[Any] = values / np.float32(scale)
    np.rint(steps, out=steps)
    steps += zero_point
    np.maximum(steps, least, out=steps)
    np.minimum(steps, most, out=steps)
    return steps.astype(dtype)


@cache
def _limits(dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest value of an integer type; asking NumPy takes as long as the arithmetic on a crop."""
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def dequantise(values: npt.NDArray[Any], tensor: Mapping[str, Any]) -> FloatArray:
    """Tensor values as float32: ``(value - zero_point) * scale``."""
    real = values.astype(np.float32, copy=False)
    if values.dtype.kind == "f":
        return real
    scale, zero_point = tensor["quantization"]
    real -= zero_point
    real *= np.float32(scale)
    return real


def check_delegate(library: str) -> None:
    """Raises BackendUnavailable if there is no such library here, or if it is no delegate of TFLite."""
    try:
        found = ctypes.CDLL(library)
    except OSError as error:
        raise BackendUnavailable(f"{library} cannot be loaded: {error}") from error
    if not hasattr(found, "tflite_plugin_create_delegate"):
        raise BackendUnavailable(f"{library} is no delegate of TFLite: it has no tflite_plugin_create_delegate")


def _load_delegate(module: ModuleType, library: str) -> Any:
    check_delegate(library)  # first: the interpreter's own attempt leaves a half made object that complains
    try:
        return module.load_delegate(library)
    except (AttributeError, ValueError, RuntimeError) as error:
        raise BackendUnavailable(f"{library} does not start: {' '.join(str(error).split())}") from error


def _interpreter_module() -> tuple[ModuleType, str]:
    """The interpreter module that is installed, and its distribution's name and version."""
    for module, distribution in PACKAGES.items():
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            raise BackendUnavailable(f"{distribution} is installed but cannot be imported: {error}") from error
        try:
            return found, f"{distribution} {version(distribution)}"
        except PackageNotFoundError:
            return found, distribution
    raise BackendUnavailable("no TFLite interpreter: pip install ai-edge-litert (or tflite-runtime with numpy<2)")

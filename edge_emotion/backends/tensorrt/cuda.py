"""The part of the CUDA runtime that inference needs: memory, one stream, graphs; errors as exceptions.

CUDA Runtime API, https://docs.nvidia.com/cuda/cuda-runtime-api, through cuda-python 12.2 to 13.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.backends.tensorrt.libraries import CUDA_FIX, load_cuda_runtime
from edge_emotion.errors import BackendUnavailable, ModelError

NO_GPU_FIX = (
    "on a Jetson the account must be in the groups video and render, a container needs --runtime nvidia; "
    f"if cuda-python is newer than the driver: {CUDA_FIX}"
)


@dataclass(frozen=True, slots=True)
class Device:
    """The GPU that an engine is tied to: 'Orin', '8.7'."""

    name: str
    compute_capability: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """One tensor's place: ``host`` N x ... in pinned memory, and as many bytes on the device at ``device``."""

    host: npt.NDArray[Any]
    device: int

    def bytes_of(self, count: int) -> int:
        """Size of the first ``count`` of the N."""
        return self.host[:count].nbytes


class Cuda:
    """Device 0 with one stream. Raises BackendUnavailable without a GPU, ModelError for what fails later."""

    def __init__(self) -> None:
        self._cuda = load_cuda_runtime()
        self.device = self._find_device()
        self._stream: Any = self._checked(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))
        self._buffers: list[Buffer] = []

    @property
    def stream(self) -> int:
        """The stream as TensorRT takes it."""
        return int(self._stream)

    def buffer(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Buffer:
        """Memory for a tensor of that shape; freed by ``close``, after which its ``host`` must not be touched."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._checked(self._cuda.cudaMallocHost(size)))
        memory = np.ctypeslib.as_array((ctypes.c_byte * size).from_address(address)).view(dtype).reshape(shape)
        made = Buffer(memory, int(self._checked(self._cuda.cudaMalloc(size))))
        self._buffers.append(made)
        return made

    def upload(self, buffer: Buffer, count: int) -> None:
        """Queue the copy of the first ``count`` entries to the device."""
        to_device = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        size, host = buffer.bytes_of(count), buffer.host.ctypes.data
        self._checked(self._cuda.cudaMemcpyAsync(buffer.device, host, size, to_device, self._stream))

    def download(self, buffer: Buffer, count: int) -> None:
        """Queue the copy of the first ``count`` entries to the host."""
        to_host = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        size, host = buffer.bytes_of(count), buffer.host.ctypes.data
        self._checked(self._cuda.cudaMemcpyAsync(host, buffer.device, size, to_host, self._stream))

    def synchronize(self) -> None:
        """Wait until all that was queued is done."""
        self._checked(self._cuda.cudaStreamSynchronize(self._stream))

    def capture(self, queue: Callable[[], None]) -> Any:
        """Capture the calls of ``queue`` as a graph to ``launch``. Raises ModelError if one cannot be captured."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._checked(self._cuda.cudaStreamBeginCapture(self._stream, mode))
        try:
            try:
                queue()
            finally:  # a stream that captures is of no other use
                answer = self._cuda.cudaStreamEndCapture(self._stream)
            graph = self._checked(answer)
        except ModelError:
            self._cuda.cudaGetLastError()  # TensorRT would take this failure for one of its own
            raise
        try:
            return self._checked(self._cuda.cudaGraphInstantiate(graph, 0))
        finally:
            self._cuda.cudaGraphDestroy(graph)

    def launch(self, graph: Any) -> None:
        """Queue a captured graph."""
        self._checked(self._cuda.cudaGraphLaunch(graph, self._stream))

    def discard(self, graph: Any) -> None:
        """Free a captured graph."""
        self._cuda.cudaGraphExecDestroy(graph)

    def close(self) -> None:
        """Free the stream and every buffer. May be called twice."""
        for buffer in self._buffers:
            self._cuda.cudaFree(buffer.device)
            self._cuda.cudaFreeHost(buffer.host.ctypes.data)
        self._buffers.clear()
        if self._stream is not None:
            self._cuda.cudaStreamDestroy(self._stream)
            self._stream = None

    def _find_device(self) -> Device:
        try:
            properties = self._checked(self._cuda.cudaGetDeviceProperties(0))
        except (ModelError, RuntimeError) as error:  # RuntimeError: cuda-python 12 without a driver
            raise BackendUnavailable(f"no GPU that CUDA can use ({error}): {NO_GPU_FIX}") from error
        return Device(properties.name.decode().rstrip("\0"), f"{properties.major}.{properties.minor}")

    def _checked(self, answer: tuple[Any, ...]) -> Any:
        """The value of an ``(error, value)`` answer. Raises ModelError for an error."""
        error, *values = answer
        if int(error):
            raise ModelError(f"CUDA: {error.name}")
        return values[0] if values else None

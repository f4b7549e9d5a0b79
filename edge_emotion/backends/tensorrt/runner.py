"""Running an engine: pinned buffers, one stream, and for each batch size a context and a CUDA graph of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_emotion.backends.tensorrt.cuda import Buffer, Cuda
from edge_emotion.backends.tensorrt.libraries import logger
from edge_emotion.errors import ModelError
from edge_emotion.protocols import FloatArray, ModelInput

log = logging.getLogger(__name__)


class EngineRunner:
    """A TensorRT engine with one input tensor, for batches of up to ``max_batch``; ``graphs``: run as CUDA graphs.

    Raises ModelError for a tensor that is not float, or in which another axis than the first is variable.
    """

    def __init__(self, trt: Any, cuda: Cuda, engine: Any, *, graphs: bool) -> None:
        self._trt, self._cuda, self._engine = trt, cuda, engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._input = inputs[0]
        self._outputs = [name for name in names if name not in inputs]
        fixed = int(engine.get_tensor_shape(self._input)[0])
        self.max_batch = int(engine.get_tensor_profile_shape(self._input, 0)[2][0]) if fixed == -1 else fixed
        self._buffers = {name: self._buffer(name) for name in names}
        self._graphs = graphs
        self._launches: dict[int, Callable[[], None]] = {}
        self._contexts: list[Any] = []
        self._captured: list[Any] = []

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Without the batch axis."""
        return self._buffers[self._input].host.shape[1:]

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Without the batch axis, in the file's order."""
        return tuple(self._buffers[name].host.shape[1:] for name in self._outputs)

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """float32 N x ... -> one float32 N x ... array per output, 1 <= N <= ``max_batch``."""
        count = len(batch)
        launch = self._launches.get(count)
        if launch is None:
            launch = self._launches[count] = self._prepare(count)
        self._buffers[self._input].host[:count] = batch
        launch()
        self._cuda.synchronize()
        # Copies: the buffers are written again by the next run.
        return tuple(self._buffers[name].host[:count].astype(np.float32) for name in self._outputs)

    def close(self) -> None:
        """Free graphs and contexts; the buffers are freed with ``cuda``."""
        for graph in self._captured:
            self._cuda.discard(graph)
        self._captured.clear()
        self._launches.clear()
        self._contexts.clear()

    def _buffer(self, name: str) -> Buffer:
        batch, *rest = self._engine.get_tensor_shape(name)
        if -1 in rest:
            raise ModelError(f"tensor {name} is {(batch, *rest)}, expected one variable axis, the first")
        return self._cuda.buffer((self.max_batch, *rest), self._numpy_type(name))

    def _numpy_type(self, name: str) -> npt.DTypeLike:
        known = {self._trt.DataType.FLOAT: np.float32, self._trt.DataType.HALF: np.float16}
        kind = self._engine.get_tensor_dtype(name)
        if kind not in known:
            raise ModelError(f"tensor {name} is {kind.name}, expected float: inputs and outputs are not quantised")
        return known[kind]

    def _prepare(self, count: int) -> Callable[[], None]:
        """A function that queues one run of this batch size: a CUDA graph if it can be captured, else single calls."""
        context = self._context(count)

        def queue() -> None:
            self._queue(context, count)

        if not self._graphs:
            return queue
        queue()  # the first run of a shape does work that cannot be captured
        self._cuda.synchronize()
        try:
            graph = self._cuda.capture(queue)
        except ModelError as error:
            log.info("batches of %d run without a CUDA graph: %s", count, error)
            return queue
        self._captured.append(graph)
        return lambda: self._cuda.launch(graph)

    def _context(self, count: int) -> Any:
        context = self._engine.create_execution_context()
        ready = (
            context is not None
            and context.set_optimization_profile_async(0, self._cuda.stream)  # only the first context has it by itself
            and context.set_input_shape(self._input, (count, *self.input_shape))
            and all(context.set_tensor_address(name, buffer.device) for name, buffer in self._buffers.items())
        )
        if not ready:
            raise ModelError(f"the engine cannot take {count} inputs at once: {logger(self._trt)[1].reason()}")
        self._contexts.append(context)  # a graph uses its memory
        return context

    def _queue(self, context: Any, count: int) -> None:
        self._cuda.upload(self._buffers[self._input], count)
        if not context.execute_async_v3(self._cuda.stream):
            raise ModelError(f"the engine cannot be run: {logger(self._trt)[1].reason()}")
        for name in self._outputs:
            self._cuda.download(self._buffers[name], count)

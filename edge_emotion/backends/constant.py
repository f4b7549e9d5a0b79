"""A backend with constant outputs: for tests, demos and measuring everything but the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_emotion.errors import ModelError
from edge_emotion.protocols import FloatArray, ModelInput


class ConstantBackend:
    """Returns ``outputs`` for every input, one array without batch axis per output. Records the batch sizes."""

    name = "constant"

    def __init__(self, input_shape: tuple[int, ...], outputs: Sequence[FloatArray]) -> None:
        self._input_shape = input_shape
        self._outputs = tuple(np.asarray(output, np.float32) for output in outputs)
        self.batch_sizes: list[int] = []

    @property
    def input_shape(self) -> tuple[int, ...]:
        """As given."""
        return self._input_shape

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the given outputs, without the batch axis."""
        return tuple(output.shape for output in self._outputs)

    def run(self, batch: ModelInput) -> tuple[FloatArray, ...]:
        """The same outputs for each of the N inputs. Raises ModelError for another input shape."""
        if batch.shape[1:] != self._input_shape or not len(batch):
            raise ModelError(f"input is {batch.shape}, expected N x {self._input_shape} with N >= 1")
        self.batch_sizes.append(len(batch))
        return tuple(np.repeat(output[None], len(batch), axis=0) for output in self._outputs)

    def close(self) -> None:
        """Nothing to free."""

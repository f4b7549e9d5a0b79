"""Steps that all interpreters share: checking the shape of a batch, running a large one in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_emotion.errors import ModelError
from edge_emotion.protocols import FloatArray, ModelInput

MAX_BATCH = 8
"""Most inputs in one call: interpreters allocate memory for each batch size and keep it."""


def check_batch(path: Path, batch: ModelInput, input_shape: tuple[int, ...]) -> None:
    """Raises ModelError unless ``batch`` is N x ``input_shape`` with N >= 1."""
    if batch.shape[1:] != input_shape or not len(batch):
        raise ModelError(f"{path.name}: input is {batch.shape}, expected N x {input_shape}, N >= 1")


def run_in_pieces(
    run: Callable[[ModelInput], tuple[FloatArray, ...]], batch: ModelInput, limit: int
) -> tuple[FloatArray, ...]:
    """The outputs of ``run``, which takes ``limit`` inputs at most, for the whole batch."""
    pieces = [run(batch[start : start + limit]) for start in range(0, len(batch), limit)]
    if len(pieces) == 1:
        return pieces[0]
    return tuple(np.concatenate(parts) for parts in zip(*pieces, strict=True))

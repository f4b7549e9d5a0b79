"""The self-test of a model on the machine where it runs: seeded inputs, stored outputs, no picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_emotion.errors import ModelError
from edge_emotion.manifest import InputSpec, ModelManifest
from edge_emotion.preprocess import normalise
from edge_emotion.protocols import InferenceBackend

BLOCK = 8
"""Inputs are made of squares of this many pixels: coarse enough to reach the deep layers with different values."""


def golden_inputs(spec: InputSpec, seed: int, count: int) -> npt.NDArray[np.uint8]:
    """uint8 count x H x W x C. MT19937 by its raw stream, which NumPy promises never to change."""
    rows, columns = -(-spec.height // BLOCK), -(-spec.width // BLOCK)
    generator = np.random.RandomState(seed)
    values = generator.randint(0, 256, size=(count, rows, columns, spec.channels)).astype(np.uint8)
    blocks = values.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    return np.ascontiguousarray(blocks[:, : spec.height, : spec.width])


def replay_golden(manifest: ModelManifest, backend: InferenceBackend, precision: str) -> float | None:
    """Run the golden set; the largest difference of a logit, None if the manifest holds none for this precision.

    Raises ModelError if this machine computes something else than the manifest promises.
    """
    golden = manifest.golden
    if golden is None or golden.precision != precision:
        return None
    inputs = golden_inputs(manifest.input, golden.seed, len(golden.expected))
    outputs = backend.run(normalise(inputs, manifest.input))[0]
    worst = float(np.abs(outputs - np.array(golden.expected, np.float32)).max())
    if not worst <= golden.tolerance:
        raise ModelError(
            f"model {manifest.name} ({precision}) computes something else here than its manifest promises: "
            f"logits differ by {worst:.2f}, allowed are {golden.tolerance:.2f} ({backend.name}); "
            "install the model again, or use another precision or interpreter"
        )
    return worst

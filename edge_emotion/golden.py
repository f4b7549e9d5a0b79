"""The self-test of a model on the machine where it runs: seeded inputs, stored outputs, no picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_emotion.classifier import EmotionClassifier
from edge_emotion.errors import ModelError
from edge_emotion.manifest import InputSpec, ModelFile, ModelManifest
from edge_emotion.preprocess import normalise
from edge_emotion.protocols import FloatArray

BLOCKS = (4, 6, 8, 12, 16, 24)
"""Inputs are made of squares of so many pixels: coarse enough to reach the deep layers with different values."""


def golden_inputs(spec: InputSpec, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
    """uint8 len(seeds) x H x W x C. MT19937 by its raw stream, which NumPy promises never to change.

    Each input is made of squares of a size of its own, in a range of greys of its own, and so unlike the others.
    """
    return np.stack([_golden_input(spec, seed) for seed in seeds])


def replay_golden(classifier: EmotionClassifier, entry: ModelFile) -> float | None:
    """Run the golden set of a file; the largest difference of a logit, None if the manifest holds none.

    It is the file and the order of the labels that are tested, whatever the classifier's operating point and classes
    are. Raises ModelError if this machine computes something else
    than the manifest promises.
    """
    golden, manifest, backend = entry.golden, classifier.manifest, classifier.backend
    if golden is None:
        return None
    logits = backend.run(normalise(golden_inputs(manifest.input, golden.seeds), manifest.input))[0]
    expected = np.array(golden.expected, np.float32)
    worst = float(np.abs(logits - expected).max()) if logits.shape == expected.shape else float("nan")
    if not worst <= golden.tolerance:
        raise ModelError(
            f"model {manifest.name} ({entry.file}) computes something else here than its manifest promises: "
            f"logits differ by {worst:.2f}, allowed are {golden.tolerance:.2f} ({backend.name}); "
            "install the model again, or use another precision or interpreter"
        )
    said = winners(manifest, logits)
    if said != golden.emotions:
        raise ModelError(
            f"model {manifest.name}: its labels are not in the order in which it was trained: its golden set is "
            f"{', '.join(golden.emotions)}, and here {', '.join(said)}; install the model again"
        )
    return worst


def winners(manifest: ModelManifest, logits: FloatArray) -> tuple[str, ...]:
    """The likeliest emotion of each of N rows of logits, at the manifest's default operating point."""
    point = manifest.calibration.operating_points[manifest.calibration.default]
    shifted = logits - point.prior_strength * np.log(np.array(manifest.calibration.class_prior))
    return tuple(manifest.labels[column] for column in shifted.argmax(axis=1))


def _golden_input(spec: InputSpec, seed: int) -> npt.NDArray[np.uint8]:
    generator = np.random.RandomState(seed)
    block, low, high = BLOCKS[generator.randint(len(BLOCKS))], generator.randint(0, 128), generator.randint(128, 257)
    rows, columns = -(-spec.height // block), -(-spec.width // block)
    values = generator.randint(low, high, size=(rows, columns, spec.channels)).astype(np.uint8)
    return np.ascontiguousarray(values.repeat(block, axis=0).repeat(block, axis=1)[: spec.height, : spec.width])

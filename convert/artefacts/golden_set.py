"""The golden set of a file: seeded inputs that make it say as many different things as possible."""

from __future__ import annotations

import numpy as np

from edge_emotion.models.manifest import Golden, ModelManifest
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import golden_inputs, winners
from edge_emotion.protocols import InferenceBackend

CANDIDATES, COUNT = 400, 8
TOLERANCE = 0.3
"""Smallest tolerance, in logits."""


def make_golden(manifest: ModelManifest, backend: InferenceBackend, other: InferenceBackend | None = None) -> Golden:
    """Choose inputs for a file that ``backend`` runs; ``other`` runs it by other kernels, where there are some.

    The tolerance is three times what the two differ by. Each emotion that wins for any candidate gets the inputs for
    which it wins most clearly; among those only the half is taken on which kernels differ least.
    """
    pixels = normalise(golden_inputs(manifest.input, range(CANDIDATES)), manifest.input)
    logits = backend.run(pixels)[0]
    distance = np.zeros(CANDIDATES) if other is None else np.abs(other.run(pixels)[0] - logits).max(axis=1)
    said, margin = winners(manifest, logits), np.diff(np.sort(logits, axis=1)[:, -2:], axis=1)[:, 0]
    clear = np.where(distance <= np.median(distance), margin, -np.inf)
    ranks = {
        name: iter(sorted((i for i in range(CANDIDATES) if said[i] == name), key=lambda i: -clear[i])) for name in said
    }
    chosen: list[int] = []
    while len(chosen) < COUNT:
        chosen += [seed for rank in ranks.values() if (seed := next(rank, None)) is not None]
    chosen = sorted(chosen[:COUNT])
    return Golden(
        labels=manifest.labels,
        seeds=tuple(chosen),
        tolerance=round(max(TOLERANCE, 3 * float(distance[chosen].max())), 2),
        emotions=tuple(said[seed] for seed in chosen),
        expected=tuple(tuple(round(float(value), 4) for value in logits[seed]) for seed in chosen),
    )

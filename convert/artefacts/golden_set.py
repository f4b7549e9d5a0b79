"""Self-test (golden set) of a model file: seeded inputs chosen so that as many different classes as possible win."""

from __future__ import annotations

import numpy as np

from edge_emotion.models.manifest import Golden, ModelManifest
from edge_emotion.models.preprocess import normalise
from edge_emotion.models.self_test import self_test_inputs, top_labels
from edge_emotion.protocols import InferenceBackend

CANDIDATES, COUNT = 400, 8
TOLERANCE = 0.3
"""Smallest tolerance in logits."""


def make_golden(manifest: ModelManifest, backend: InferenceBackend, other: InferenceBackend | None = None) -> Golden:
    """Choose the self-test inputs of a file that ``backend`` runs; ``other``, if given, runs it with other kernels.

    The tolerance is three times the largest difference between the two. Each class that wins for any candidate gets the
    inputs with the largest margin, among the half of the candidates on which the kernels differ least.
    """
    pixels = normalise(self_test_inputs(manifest.input, range(CANDIDATES)), manifest.input)
    logits = backend.run(pixels)[0]
    distance = np.zeros(CANDIDATES) if other is None else np.abs(other.run(pixels)[0] - logits).max(axis=1)
    predicted, margin = top_labels(manifest, logits), np.diff(np.sort(logits, axis=1)[:, -2:], axis=1)[:, 0]
    clear = np.where(distance <= np.median(distance), margin, -np.inf)
    ranks = {
        name: iter(sorted((i for i in range(CANDIDATES) if predicted[i] == name), key=lambda i: -clear[i]))
        for name in predicted
    }
    chosen: list[int] = []
    while len(chosen) < COUNT:
        chosen += [seed for rank in ranks.values() if (seed := next(rank, None)) is not None]
    chosen = sorted(chosen[:COUNT])
    return Golden(
        labels=manifest.labels,
        seeds=tuple(chosen),
        tolerance=round(max(TOLERANCE, 3 * float(distance[chosen].max())), 2),
        emotions=tuple(predicted[seed] for seed in chosen),
        expected=tuple(tuple(round(float(value), 4) for value in logits[seed]) for seed in chosen),
    )

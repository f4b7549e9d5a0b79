"""Recognition of networks that have collapsed: they predict one class, whatever they see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from train.evaluation.metrics import Labels

ENOUGH = 10
"""Least number of faces from which a single predicted class says something."""


def one_class(predicted: Labels, truth: Labels, labels: Sequence[str]) -> str | None:
    """The label that is predicted for each of N faces of several classes; None if there are several, or few faces."""
    if len(predicted) < ENOUGH or len(np.unique(truth)) < 2 or len(np.unique(predicted)) > 1:
        return None
    return labels[int(predicted[0])]

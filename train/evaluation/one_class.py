"""Recognition of networks that have collapsed: they predict one class, whatever they see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from train.evaluation.metrics import Counts

ENOUGH = 10
"""Least number of faces from which a single predicted class says something."""


def one_class(counts: Counts, labels: Sequence[str]) -> str | None:
    """The label that is predicted for every face, where the faces have several; None otherwise, and for few faces.

    ``counts``: the confusion matrix C x C, true classes in rows.
    """
    true, predicted = (np.flatnonzero(counts.sum(axis=axis)) for axis in (1, 0))
    if counts.sum() < ENOUGH or len(true) < 2 or len(predicted) > 1:
        return None
    return labels[int(predicted[0])]

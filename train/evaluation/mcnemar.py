"""McNemar's test of two classifiers on the same faces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from train.evaluation.metrics import confusion, mcnemar


class McNemarTest(NamedTuple):
    """Result of McNemar's exact test of two models on the ``n`` faces whose class both have.

    ``only_first`` and ``only_second``: faces that only one of them has right. ``p``: two-sided.
    """

    first: str
    second: str
    n: int
    only_first: int
    only_second: int
    p: float


def mcnemar_test(
    first: str, first_right: npt.NDArray[np.bool_], second: str, second_right: npt.NDArray[np.bool_]
) -> McNemarTest:
    """Test two models by which of the same N faces each has right."""
    table = confusion(first_right.astype(np.int64), second_right.astype(np.int64), 2)
    p = mcnemar(first_right, second_right)
    return McNemarTest(first, second, len(first_right), int(table[1, 0]), int(table[0, 1]), p)

"""Two classifiers on the same faces."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from train.evaluation.metrics import confusion, mcnemar


class Duel(NamedTuple):
    """Two models on the ``n`` faces that both can name: how many only one has right, and McNemar's exact p."""

    first: str
    second: str
    n: int
    only_first: int
    only_second: int
    p: float


def duel(first: str, first_right: npt.NDArray[np.bool_], second: str, second_right: npt.NDArray[np.bool_]) -> Duel:
    """The duel of two models that have these N faces right or wrong."""
    table = confusion(first_right.astype(np.int64), second_right.astype(np.int64), 2)
    p = mcnemar(first_right, second_right)
    return Duel(first, second, len(first_right), int(table[1, 0]), int(table[0, 1]), p)

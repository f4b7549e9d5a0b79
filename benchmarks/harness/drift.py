"""Drift of a run: its speed at the end against that at the beginning; a processor that heats up slows down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

BLOCKS = 5
"""Blocks per third, whose medians are compared. For equal thirds, chance alone separates 5 from 5 once in 252 times."""
NEGLIGIBLE = 1.02
"""A run that becomes slower by less than this factor counts as steady, however little noise there is."""


class Drift(NamedTuple):
    """``ratio``: median time of the last third of a run over that of its first third."""

    ratio: float
    steady: bool


def drift(times: Sequence[float] | np.ndarray[Any, Any]) -> Drift | None:
    """Drift of ``times`` in the order of their measurement; None for fewer than 3 x BLOCKS times.

    A run is not steady if the median of every block of its last third is above that of every block of its first third.
    """
    third = len(times) // 3
    if third < BLOCKS:
        return None
    first, last = np.asarray(times[:third]), np.asarray(times[-third:])
    ratio = float(np.median(last) / np.median(first))
    apart = min(_medians(last)) > max(_medians(first))
    return Drift(ratio, not (apart and ratio > NEGLIGIBLE))


def _medians(times: np.ndarray[Any, Any]) -> list[float]:
    return [float(np.median(block)) for block in np.array_split(times, BLOCKS)]

"""Whether a run was as fast at its end as at its beginning: what heats up slows down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

BLOCKS = 5
"""Parts of a third whose medians are compared. Chance alone parts 5 and 5 equal ones like that once in 252 times."""
NEGLIGIBLE = 1.02
"""A run that becomes slower by less than this factor is steady, however little noise there is."""


class Drift(NamedTuple):
    """``ratio`` is the time of the last third over that of the first."""

    ratio: float
    steady: bool


def drift(times: Sequence[float] | np.ndarray[Any, Any]) -> Drift | None:
    """Of times in order; None if they are too few to tell: fewer than 3 x BLOCKS.

    A run is not steady if each block of its last third is slower than every block of its first: by more than noise.
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

"""A video played forwards and backwards without end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def to_and_fro(video: Array | Sequence[Array]) -> list[Array]:
    """Its frames forwards and, without the ends, backwards: over and over, a video without a cut."""
    return [*video, *video[-2:0:-1]]

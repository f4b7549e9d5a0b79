"""Endless, seamless repetition of a video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def forward_and_backward(video: Array | Sequence[Array]) -> list[Array]:
    """The frames forwards, then backwards without the two ends: repeated, a video without a cut."""
    return [*video, *video[-2:0:-1]]

"""Delays between attempts to get back something that was lost: a broker, a camera."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Seconds to wait before each further attempt: doubling up to ``longest``, drawn from the upper half of each step.

    The random draw (``draw`` gives 0 to 1) keeps many nodes from coming back to a restarted server at the same moment.
    """

    def __init__(self, first: float, longest: float, draw: Callable[[], float] = random.random) -> None:
        self._first, self._longest, self._draw = first, longest, draw
        self._step = first

    def next(self) -> float:
        """Return the next delay in seconds."""
        step, self._step = self._step, min(self._step * 2, self._longest)
        return step * (0.5 + 0.5 * self._draw())

    def reset(self) -> None:
        """Start again with ``first``."""
        self._step = self._first

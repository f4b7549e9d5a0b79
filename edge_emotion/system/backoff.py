"""Random parts of times: delays between attempts to get back a broker or a camera, and repeated intervals."""

from __future__ import annotations

import random
from collections.abc import Callable


class Jitter:
    """A factor around 1 for repeated intervals: many nodes that start at the same moment drift apart.

    ``draw`` gives -1 to 1. Intervals of a mean of ``m`` seconds vary by ``share * m`` in both directions.
    """

    def __init__(self, draw: Callable[[], float] = lambda: random.uniform(-1, 1)) -> None:
        self._draw = draw
        self._last = draw()

    def factor(self, share: float) -> float:
        """The factor of the current interval."""
        return 1 + share * self._last

    def renew(self) -> None:
        """Draw anew, for the next interval."""
        self._last = self._draw()


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

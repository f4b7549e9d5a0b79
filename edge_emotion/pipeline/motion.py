"""Where a tracked face is expected: the constant velocity of its box, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edge_emotion.datatypes import Box

SETTLING = 0.25
"""Seconds after which 63 % of a new velocity is known."""

PERSISTENCE = 4.0
"""Seconds after which a face that is not seen has gone 63 % of the way that its velocity leads it in all."""


@dataclass(frozen=True, slots=True)
class Motion:
    """The last box of a face, at monotonic seconds ``seen``, and the velocity of its middle in pixels a second."""

    box: Box
    seen: float
    velocity: tuple[float, float] = (0.0, 0.0)

    def expected(self, timestamp: float) -> Box:
        """The box at a later time: the velocity persists for a while, the size stays."""
        along = PERSISTENCE * (1 - math.exp(-max(timestamp - self.seen, 0.0) / PERSISTENCE))
        return self.box.moved(self.velocity[0] * along, self.velocity[1] * along)

    def seen_at(self, box: Box, timestamp: float) -> Motion:
        """The motion after another detection, an alpha-beta filter with alpha 1 whose beta follows from the time."""
        elapsed = timestamp - self.seen
        if elapsed <= 0:
            return Motion(box, timestamp, self.velocity)
        gain = (1 - math.exp(-elapsed / SETTLING)) / elapsed
        ahead = zip(self.velocity, box.centre, self.expected(timestamp).centre, strict=True)
        x, y = (speed + gain * (found - expected) for speed, found, expected in ahead)
        return Motion(box, timestamp, (x, y))

    def hidden_at(self, box: Box, timestamp: float) -> Motion:
        """The motion after a detection whose box another face may cover in part, or be in: the velocity stays."""
        return Motion(box, timestamp, self.velocity)

"""Which frames of a stream lie behind the camera, told by the times that the stream gives them."""

from __future__ import annotations

STALL = 0.5
"""Seconds by which a frame may come late before what follows is taken for a backlog."""

CATCHING_UP = 1.5
"""Frames that come so many times faster than they were filmed have waited somewhere."""

WAITED = 0.2
"""Seconds after which a frame has not waited for us, if the stream does not say when it was filmed."""


class Freshness:
    """Finds frames that have waited: FFmpeg collects seconds of them before it gives the first, and so does a network.

    A stream begins behind and falls behind when a frame comes late; it is so for as long as its frames come faster
    than they were filmed. A clock of the camera that is a little wrong does no harm. Update once for each frame.
    """

    def __init__(self) -> None:
        self._behind = True
        self._position = 0.0
        self._timestamp = float("inf")

    def is_stale(self, position: float, timestamp: float) -> bool:
        """True for a frame at ``position`` seconds of the stream that came at ``timestamp`` and shows the past."""
        known = 0 < self._position < position  # OpenCV gives the first frames the position 0
        filmed, waited = position - self._position, timestamp - self._timestamp
        self._position, self._timestamp = position, timestamp
        if known and waited > filmed + STALL:
            self._behind = True
        elif self._behind:
            self._behind = waited < (filmed / CATCHING_UP if known else WAITED)
        return self._behind

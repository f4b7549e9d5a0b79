"""Which frames of a stream lie behind the camera, told by the times that the stream gives them."""

from __future__ import annotations

from collections import deque

STALL = 1.0
"""Seconds by which a frame may come late before what follows is taken for a backlog."""

CATCHING_UP = 1.5
"""Frames that come so many times faster than they were filmed have waited somewhere."""

WINDOW = 5
"""Frames in a row over which that is measured: a busy machine may pause, and networks deliver in lumps."""


class Freshness:
    """Finds frames that have waited: FFmpeg collects seconds of them before it gives the first, and so does a network.

    A stream begins behind and falls behind when a frame comes late; it is so for as long as its frames come faster
    than they were filmed. A clock of the camera that is a little wrong does no harm. Ask once for each frame.
    """

    def __init__(self) -> None:
        self._behind = True
        self._recent: deque[tuple[float, float]] = deque(maxlen=WINDOW)

    def is_stale(self, position: float, timestamp: float) -> bool:
        """True for a frame at ``position`` seconds of the stream that came at ``timestamp`` and shows the past."""
        if self._recent:
            filmed, waited = position - self._recent[-1][0], timestamp - self._recent[-1][1]
            if 0 < filmed < waited - STALL:
                self._behind = True
                self._recent.clear()
        self._recent.append((position, timestamp))
        if self._behind and len(self._recent) == WINDOW:
            filmed, waited = position - self._recent[0][0], timestamp - self._recent[0][1]
            self._behind = filmed > CATCHING_UP * waited
        return self._behind

    def trust(self) -> None:
        """Take the stream as it is: it never gives frames in time."""
        self._behind = False

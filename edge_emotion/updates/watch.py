"""Whether a model that has just been taken into use does its work: by counts and times, not by what it finds."""

from __future__ import annotations

import statistics
from collections import deque

from edge_emotion.pipeline.pipeline import StageTimes

STALL = 30.0
"""Seconds without a processed frame, while the cameras give some, after which a model is left."""

SLOWER = 2.0
"""Factor of the time of a frame with a face, compared with the model before, above which a model is left."""

LEAST, KEPT = 50, 5000
"""Frames with a face that a median needs, and those that are kept for it."""


class FrameTimes:
    """Frames that were processed, and how long those with faces took, each as if it had one face.

    More people in view do not make a model slower: the time of the classifier is divided by its faces.
    """

    def __init__(self) -> None:
        self.processed = 0
        self._seconds: deque[float] = deque(maxlen=KEPT)

    def add(self, times: StageTimes | None, faces: int) -> None:
        """Count a frame in which ``faces`` were classified; ``times`` is None if it was skipped."""
        self.processed += 1
        if times is not None and faces > 0:
            one = (times.align + times.classify) / faces
            self._seconds.append(times.detect + times.track + times.decide + one)

    def median(self) -> float | None:
        """Seconds; None with fewer than LEAST frames with faces."""
        return statistics.median(self._seconds) if len(self._seconds) >= LEAST else None

    def restart(self) -> None:
        """Forget the times, because another model is used from now on."""
        self._seconds.clear()


class Watch:
    """Watches a model from ``now`` on for ``seconds``. ``before``: seconds of a frame with the model before, if known.

    Times are monotonic seconds.
    """

    def __init__(self, seconds: float, now: float, before: float | None, processed: int, captured: int) -> None:
        self.until, self._before = now + seconds, before
        self._processed, self._captured, self._progress = processed, captured, now

    def fault(self, now: float, processed: int, captured: int) -> str | None:
        """Why the model has to be left at once; None if it need not. The counts are those of all frames so far."""
        if processed != self._processed or captured == self._captured:
            self._processed, self._captured, self._progress = processed, captured, now
        if now - self._progress < STALL:
            return None
        return f"no frame was processed for {STALL:g} s, and the cameras gave {captured - self._captured}"

    def verdict(self, times: FrameTimes) -> tuple[bool, str]:
        """At the end: whether the model stays, and the reason in words."""
        after = times.median()
        if after is None:
            return True, f"fewer than {LEAST} frames with a face: its speed is not known"
        if self._before is None:
            return True, f"a frame with a face takes {_ms(after)}"
        figures = f"a frame with a face takes {_ms(after)}, with the model before {_ms(self._before)}"
        return after <= SLOWER * self._before, figures


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"

"""Emotion probabilities over time. A pure state machine: time is what the caller says."""

from __future__ import annotations

import math

from edge_emotion.datatypes import EmotionScores


class Smoother:
    """First-order low-pass over each track's distribution, for samples at uneven times.

    ``time_constant`` in seconds: after that long, 63 % of a step has come through. 0 switches smoothing off.
    """

    def __init__(self, time_constant: float) -> None:
        self._time_constant = time_constant
        self._last: dict[str, tuple[float, EmotionScores]] = {}

    def update(self, track_id: str, scores: EmotionScores, timestamp: float) -> EmotionScores:
        """The smoothed distribution of a track after a new sample at monotonic seconds ``timestamp``."""
        known = self._last.get(track_id)
        smoothed = scores if known is None else self._blend(known[1], scores, timestamp - known[0])
        self._last[track_id] = timestamp, smoothed
        return smoothed

    def forget(self, track_id: str) -> None:
        """Drop a track that ended."""
        self._last.pop(track_id, None)

    def _blend(self, old: EmotionScores, new: EmotionScores, elapsed: float) -> EmotionScores:
        if self._time_constant <= 0:
            return new
        weight = 1 - math.exp(-max(elapsed, 0.0) / self._time_constant)
        pairs = zip(old.probabilities, new.probabilities, strict=True)
        return EmotionScores(new.labels, tuple(before + weight * (now - before) for before, now in pairs))

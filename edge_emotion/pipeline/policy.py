"""When an emotion counts. A pure state machine between smoothed probabilities and events."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_emotion.datatypes import EmotionScores, EventType
from edge_emotion.labels import UNKNOWN


@dataclass(frozen=True, slots=True)
class StableEmotion:
    """What a track is said to show; ``scores`` are the newest, ``candidate`` has been better ``since``."""

    emotion: str
    scores: EmotionScores
    candidate: str
    since: float

    @property
    def confidence(self) -> float:
        """Probability of the emotion; for 'unknown' that of the best one, which was not enough."""
        if self.emotion == UNKNOWN:
            return self.scores.confidence
        return self.scores.probabilities[self.scores.labels.index(self.emotion)]


@dataclass(frozen=True, slots=True)
class Decision:
    """Something worth an event."""

    type: EventType
    settled: StableEmotion
    previous: str | None = None


class Policy:
    """One ``start``, any number of ``change``, one ``end`` per track.

    An emotion needs ``threshold`` (0..1) to be said, and, once said, is kept until it falls ``hysteresis`` below that
    or another one is better by ``hysteresis``. A new one must hold for ``min_dwell`` seconds. Else it is 'unknown'.
    """

    def __init__(self, *, threshold: float, hysteresis: float, min_dwell: float) -> None:
        self.threshold = threshold
        """May be changed at any time; counts from the next ``update`` on."""
        self._hysteresis = hysteresis
        self._min_dwell = min_dwell
        self._settled: dict[str, StableEmotion] = {}

    def settled(self, track_id: str) -> StableEmotion | None:
        """What a track shows, None before its start and after its end."""
        return self._settled.get(track_id)

    def update(self, track_id: str, scores: EmotionScores, timestamp: float) -> Decision | None:
        """Take in a track's smoothed scores at monotonic seconds ``timestamp``."""
        before = self._settled.get(track_id)
        if before is None:
            emotion = scores.named(self.threshold)
            return self._keep(track_id, Decision("start", StableEmotion(emotion, scores, emotion, timestamp)))
        wanted = self._wanted(before.emotion, scores)
        since = before.since if wanted == before.candidate else timestamp
        now = StableEmotion(before.emotion, scores, wanted, since)
        if wanted != before.emotion and timestamp - since >= self._min_dwell:
            return self._keep(track_id, Decision("change", replace(now, emotion=wanted), before.emotion))
        self._settled[track_id] = now
        return None

    def end(self, track_id: str) -> Decision | None:
        """A track is over. None if it never started."""
        settled = self._settled.pop(track_id, None)
        return None if settled is None else Decision("end", settled)

    def _keep(self, track_id: str, decision: Decision) -> Decision:
        self._settled[track_id] = decision.settled
        return decision

    def _wanted(self, emotion: str, scores: EmotionScores) -> str:
        """What the scores speak for, given what is settled."""
        held = scores.as_dict().get(emotion, 0.0)
        if scores.emotion != emotion and scores.confidence >= max(self.threshold, held + self._hysteresis):
            return scores.emotion
        return emotion if held >= self.threshold - self._hysteresis and emotion != UNKNOWN else UNKNOWN

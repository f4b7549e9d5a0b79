"""The event policy: a pure state machine from smoothed probabilities to start, change and end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge_emotion.datatypes import EmotionScores, EventType
from edge_emotion.labels import UNKNOWN
from edge_emotion.pipeline.quality_gate import Doubt


@dataclass(frozen=True, slots=True)
class StableEmotion:
    """The reported emotion of a track. ``scores`` are the newest; ``candidate`` has been the better one ``since``.

    ``reason`` says why it became unknown, if there was a doubt about the picture of the face.
    """

    emotion: str
    scores: EmotionScores
    candidate: str
    since: float
    reason: str | None = None

    @property
    def confidence(self) -> float:
        """Probability of the emotion; for 'unknown' that of the best one, which was not enough."""
        if self.emotion == UNKNOWN:
            return self.scores.confidence
        return self.scores.probabilities[self.scores.labels.index(self.emotion)]


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of a track that becomes an event."""

    type: EventType
    settled: StableEmotion
    previous: str | None = None


class Policy:
    """One ``start``, any number of ``change``, one ``end`` per track.

    An emotion is reported from a probability of ``threshold`` (0..1) on. It is kept until it falls ``hysteresis``
    below that for ``unknown_dwell`` seconds, and is 'unknown' then; or until another one is better by ``margin`` for
    ``min_dwell`` seconds, where 'unknown' counts as 0.
    """

    def __init__(
        self, *, threshold: float, hysteresis: float, margin: float, min_dwell: float, unknown_dwell: float
    ) -> None:
        self.threshold = threshold
        """May be changed at any time; counts from the next ``update`` on."""
        self._hysteresis, self._margin = hysteresis, margin
        self._min_dwell, self._unknown_dwell = min_dwell, unknown_dwell
        self._settled: dict[str, StableEmotion] = {}

    def settled(self, track_id: str) -> StableEmotion | None:
        """The reported emotion of a track, None before its start and after its end."""
        return self._settled.get(track_id)

    def update(
        self, track_id: str, scores: EmotionScores, timestamp: float, doubt: Doubt | None = None
    ) -> Decision | None:
        """Update a track with its smoothed scores at monotonic seconds ``timestamp``; None if nothing changed.

        Where there is a ``doubt`` about the picture, an emotion needs its confidence instead of the threshold.
        """
        threshold = self.threshold if doubt is None else max(self.threshold, doubt.confidence)
        before = self._settled.get(track_id)
        if before is None:
            emotion = scores.named(threshold)
            first = StableEmotion(emotion, scores, emotion, timestamp, _reason(emotion, doubt))
            return self._keep(track_id, Decision("start", first))
        wanted = self._wanted(before.emotion, scores, threshold)
        since = before.since if wanted == before.candidate else timestamp
        dwell = self._unknown_dwell if wanted == UNKNOWN else self._min_dwell
        if wanted != before.emotion and timestamp - since >= dwell:
            now = StableEmotion(wanted, scores, wanted, since, _reason(wanted, doubt))
            return self._keep(track_id, Decision("change", now, before.emotion))
        self._settled[track_id] = replace(before, scores=scores, candidate=wanted, since=since)
        return None

    def end(self, track_id: str) -> Decision | None:
        """End a track. None if it never started."""
        settled = self._settled.pop(track_id, None)
        return None if settled is None else Decision("end", settled)

    def _keep(self, track_id: str, decision: Decision) -> Decision:
        self._settled[track_id] = decision.settled
        return decision

    def _wanted(self, emotion: str, scores: EmotionScores, threshold: float) -> str:
        """The emotion that the scores support, given the reported one."""
        held = scores.as_dict().get(emotion, 0.0)
        if scores.emotion != emotion and scores.confidence >= max(threshold, held + self._margin):
            return scores.emotion
        return emotion if held >= threshold - self._hysteresis and emotion != UNKNOWN else UNKNOWN


def _reason(emotion: str, doubt: Doubt | None) -> str | None:
    return doubt.reason if doubt is not None and emotion == UNKNOWN else None

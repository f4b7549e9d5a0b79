"""The pipeline of one camera: a frame in, events out. No thread, no clock: time is the frame's timestamp."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import perf_counter

from edge_emotion.datatypes import Box, CameraState, EmotionEvent, Face, Frame, Track
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.face_quality import face_quality
from edge_emotion.pipeline.following import FaceFollower
from edge_emotion.pipeline.policy import Decision, Policy, StableEmotion
from edge_emotion.pipeline.quality_gate import QualityGate
from edge_emotion.pipeline.searching import FaceSearch, Known, QuickDetector
from edge_emotion.pipeline.settings import PipelineSettings
from edge_emotion.pipeline.smoothing import Smoother
from edge_emotion.pipeline.still_faces import StillFaces
from edge_emotion.pipeline.tracking import Tracker
from edge_emotion.pipeline.upright import UprightVote
from edge_emotion.protocols import FaceDetector
from edge_emotion.wire.ulid import ulid

JITTER_TOLERANCE = 0.75
"""Share of an interval after which the next one may begin: frames at that rate, a little early or late, all count."""


@dataclass(slots=True)
class StageTimes:
    """Seconds that each stage of the last frame took; measured for benchmarks, used for nothing else."""

    detect: float = 0.0
    track: float = 0.0
    align: float = 0.0
    classify: float = 0.0
    decide: float = 0.0


@dataclass(frozen=True, slots=True)
class FaceNow:
    """A face in view after a frame: its track, its reported emotion, and its quality from 0 to 1."""

    track: Track
    emotion: StableEmotion
    quality: float


class Pipeline:
    """Turns the frames of one camera into events.

    The ``detector`` searches the whole picture; the ``follower``, if there is one, re-finds tracked faces between two
    such searches, and the ``quick`` detector, if there is one, searches where nothing can be followed. ``next_seq``
    gives the node's next event number, ``make_id`` an identifier for a track or an event.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        detector: FaceDetector,
        classifier: EmotionClassifier,
        follower: FaceFollower | None = None,
        quick: QuickDetector | None = None,
        *,
        next_seq: Callable[[], int],
        make_id: Callable[[datetime], str] = ulid,
    ) -> None:
        self._settings = settings
        self._classifier = classifier
        self._gate = QualityGate(settings.needed_confidence, classifier.manifest.input)
        self._search = FaceSearch(
            detector,
            follower,
            quick,
            refresh_interval=settings.refresh_interval,
            idle_refresh_interval=settings.idle_refresh_interval,
            keep_known=settings.keep_known,
        )
        self._tracker = Tracker(
            iou=settings.iou, confirm_hits=settings.confirm_hits, max_gap=settings.max_gap, make_id=make_id
        )
        self._smoother = Smoother(settings.time_constant)
        self._policy = Policy(
            threshold=settings.threshold,
            hysteresis=settings.hysteresis,
            margin=settings.margin,
            min_dwell=settings.min_dwell,
            unknown_dwell=settings.unknown_dwell,
        )
        self._next_seq, self._make_id = next_seq, make_id
        self._view = settings.view
        self._upright = UprightVote(settings.camera, detector) if settings.find_upright else None
        self._still = StillFaces() if settings.ignore_still else None
        self._looked = -math.inf
        self._classified: dict[str, float] = {}
        self._last: Frame | None = None
        self.times: StageTimes | None = None
        """Of the last frame; None if it was skipped."""
        self.judged: tuple[FaceNow, ...] = ()
        """The faces of the last frame that were classified in it."""

    def set_threshold(self, threshold: float) -> None:
        """Replace the policy's threshold from the next frame on; tracks go on."""
        self._policy.threshold = threshold

    def process(self, frame: Frame) -> list[EmotionEvent]:
        """Detect, track, classify, smooth and decide; returns the events of this frame in their order."""
        self._last, self.judged = frame, ()
        if self._tracker.idle and 0 <= frame.timestamp - self._looked < JITTER_TOLERANCE * self._settings.idle_interval:
            self.times = None
            return []
        self._looked = frame.timestamp
        turned = self._turn(frame)
        frame = self._last = self._seen(frame)
        begin = perf_counter()
        known = Known(self._tracker.steady, self._tracker.faces)
        faces = self._search.find(frame.image, frame.timestamp, known)
        detected = perf_counter()
        present, ended = self._track(frame, faces)
        due = [track for track in present if self._is_due(track, frame.timestamp)]
        tracked = perf_counter()
        crops = self._classifier.crops(frame.image, [track.face for track in due])
        aligned = perf_counter()
        doubts = self._gate.doubts(crops, [track.face for track in due])
        gated = perf_counter()
        scores = self._classifier.judge(crops)
        classified = perf_counter()
        events = turned + self._end(ended)
        for track, raw, doubt in zip(due, scores, doubts, strict=True):
            self._classified[track.id] = frame.timestamp
            smoothed = self._smoother.update(track.id, raw, frame.timestamp)
            decision = self._policy.update(track.id, smoothed, frame.timestamp, doubt)
            if decision is not None:
                events.append(self._event(decision, track, frame))
        self.judged = tuple(
            self._now(track, emotion) for track in due if (emotion := self._policy.settled(track.id)) is not None
        )
        decided = perf_counter()
        self.times = StageTimes(
            detect=detected - begin,
            track=tracked - detected,
            align=aligned - tracked,
            classify=classified - gated,
            decide=decided - classified + gated - aligned,
        )
        return events

    def _track(self, frame: Frame, faces: Sequence[Face]) -> tuple[list[Track], list[Track]]:
        """The tracks present in a frame, and those that end with it, also as their faces are found to be still."""
        if self._still is None:
            sighting = self._tracker.update(faces, frame.timestamp, frame.captured_at)
            return list(sighting.present), list(sighting.ended)
        living = self._still.living(frame.image, faces, frame.timestamp)
        sighting = self._tracker.update(living, frame.timestamp, frame.captured_at)
        still = self._still.newly_still(frame.image, sighting.present, frame.timestamp)
        self._tracker.drop(still)
        return [track for track in sighting.present if track not in still], [*sighting.ended, *still]

    def finish(self) -> list[EmotionEvent]:
        """End every track now, because the camera is lost or the daemon stops; returns the events."""
        return self._end(self._tracker.finish())

    def state(self) -> CameraState | None:
        """The state after the last frame, with the emotion of the largest face. None before the first frame."""
        if self._last is None:
            return None
        shown = self._shown()
        if not shown:
            return CameraState(self._last.captured_at, 0, None, None, {}, {})
        _, now = max(shown, key=lambda pair: pair[0].face.box.area)
        counts = Counter(settled.emotion for _, settled in shown)
        return CameraState(
            self._last.captured_at, len(shown), now.emotion, now.confidence, now.scores.as_dict(), counts
        )

    @property
    def last_frame(self) -> Frame | None:
        """The last frame as the view shows it, as it came if it was skipped (no ``times``); None before the first."""
        return self._last

    def faces(self) -> tuple[FaceNow, ...]:
        """The faces that ``state`` counts, with their places in the pixels of ``last_frame``."""
        return tuple(self._now(track, emotion) for track, emotion in self._shown())

    def _shown(self) -> list[tuple[Track, StableEmotion]]:
        return [(track, now) for track in self._tracker.confirmed if (now := self._policy.settled(track.id))]

    def _now(self, track: Track, emotion: StableEmotion) -> FaceNow:
        return FaceNow(track, emotion, face_quality(track.face, self._classifier.manifest.input.detail))

    def _turn(self, frame: Frame) -> list[EmotionEvent]:
        """Turn the view once the rotation is known: every track ends then, as its place is another one."""
        rotation = None if self._upright is None else self._upright.update(frame.image, frame.timestamp, self._view)
        if rotation in (None, self._view.rotate):
            return []
        self._view = self._view.turned(rotation)
        if self._still is not None:
            self._still.forget()
        return self.finish()

    def _seen(self, frame: Frame) -> Frame:
        """The frame as the view shows it."""
        image = self._view.apply(frame.image)
        return frame if image is frame.image else replace(frame, image=image)

    def _is_due(self, track: Track, timestamp: float) -> bool:
        last = self._classified.get(track.id)
        return track.confirmed and (last is None or timestamp - last >= JITTER_TOLERANCE * self._settings.interval)

    def _end(self, tracks: Iterable[Track]) -> list[EmotionEvent]:
        events = []
        for track in tracks:
            decision = self._policy.end(track.id)
            self._smoother.forget(track.id)
            self._classified.pop(track.id, None)
            if decision is not None and self._last is not None:
                events.append(self._event(decision, track, self._last))
        return events

    def _event(self, decision: Decision, track: Track, frame: Frame) -> EmotionEvent:
        settled, manifest = decision.settled, self._classifier.manifest
        box = _fractions(track.face.box, frame)
        return EmotionEvent(
            type=decision.type,
            id=self._make_id(frame.captured_at),
            seq=self._next_seq(),
            node=self._settings.node,
            camera=self._settings.camera,
            ts=frame.captured_at,
            emotion=settled.emotion,
            confidence=settled.confidence,
            probabilities=settled.scores.as_dict(),
            previous=decision.previous,
            track_id=track.id,
            track_started=track.started_at,
            track_duration=track.duration,
            box=box,
            quality=face_quality(track.face, manifest.input.detail),
            latency_ms=0.0,
            model_name=manifest.name,
            model_version=manifest.version,
            zone=self._view.zone(box),
            reason=settled.reason,
        )


def _fractions(box: Box, frame: Frame) -> Box:
    height, width = frame.image.shape[:2]
    return box.clip(width, height).scaled(1 / width, 1 / height)

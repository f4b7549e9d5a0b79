"""Tracking: the same face from frame to frame. A pure state machine: no clock, no I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge_emotion.datatypes import Box, Face, Track
from edge_emotion.pipeline.motion import Motion

MAX_JUMP = 0.6
"""Farthest distance of a face from its expected place, in sides of its box, to be the same face if its size fits."""

PAUSE = 10.0
"""Seconds after which a face is never matched with an earlier one."""

MAX_GROWTH = 1.6
"""Largest factor between the sides of the boxes of the same face in two detections."""

COVERED = 0.3
"""A missing face is hidden if another one covers at least this share of the box that is expected for it."""

TOUCHING = 1.2
"""Faces whose middles are closer than so many of their sides may cover each other: their boxes tell no velocity."""

HIDDEN_JUMP = 1.0
"""MAX_JUMP of a face that was hidden, whose place is less certain."""

MAX_HIDDEN = 4.0
"""Seconds after which a face that is hidden behind others has left."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """The result of one frame: tracks ``present`` in it, and tracks that ``ended`` with it (confirmed ones only)."""

    present: tuple[Track, ...]
    ended: tuple[Track, ...]


class Tracker:
    """Greedy matching of boxes to the expected ones by overlap, then by nearness (as SORT, Bewley et al. 2016).

    A track is ``confirmed`` after ``confirm_hits`` detections in a row. It ends with a frame without the face if its
    last detection is more than ``max_gap`` seconds old. ``iou`` is the least overlap of two boxes of the same face.
    Slow frame rates do no harm: the time between two frames does not count as missing. Nor does the time for which a
    face is hidden behind another one.
    """

    def __init__(self, *, iou: float, confirm_hits: int, max_gap: float, make_id: Callable[[datetime], str]) -> None:
        self._iou = iou
        self._confirm_hits = confirm_hits
        self._max_gap = max_gap
        self._make_id = make_id
        self._tracks: dict[str, Track] = {}
        self._motions: dict[str, Motion] = {}
        self._hidden: dict[str, float] = {}
        self._updated = -math.inf

    @property
    def confirmed(self) -> tuple[Track, ...]:
        """Every confirmed track, detected in the last frame or missing for a short while."""
        return tuple(track for track in self._tracks.values() if track.confirmed)

    @property
    def idle(self) -> bool:
        """True if there is no track at all, not even an unconfirmed or a briefly missing one."""
        return not self._tracks

    @property
    def faces(self) -> tuple[Face, ...]:
        """Every face as it was last seen, also those that do not count yet or were missed for a while."""
        return tuple(track.face for track in self._tracks.values())

    @property
    def steady(self) -> tuple[Face, ...]:
        """Every face, if all tracks are confirmed and were detected in the last frame; otherwise none."""
        tracks = self._tracks.values()
        calm = all(track.confirmed and track.last_seen == self._updated for track in tracks)
        return tuple(track.face for track in tracks) if calm else ()

    def update(self, faces: Sequence[Face], timestamp: float, captured_at: datetime) -> Sighting:
        """Update the tracks with the faces of one frame, at monotonic seconds ``timestamp`` and UTC ``captured_at``."""
        self._updated = timestamp
        recent = {name: one for name, one in self._motions.items() if timestamp - one.seen <= PAUSE}
        expected = {name: motion.expected(timestamp) for name, motion in recent.items()}
        matches = self._match(expected, faces)
        missed = [box for name, box in expected.items() if name not in matches.values()]
        around = [face.box for face in faces] + missed
        self._note_hidden(matches, expected, faces, timestamp)
        ended = self._expire(set(matches.values()), timestamp)
        present = tuple(
            self._seen(self._tracks[matches[index]], face, timestamp, around)
            if index in matches
            else self._new(face, timestamp, captured_at)
            for index, face in enumerate(faces)
        )
        self._tracks.update((track.id, track) for track in present)
        return Sighting(present, ended)

    def drop(self, tracks: Iterable[Track]) -> None:
        """Forget these tracks, which end now."""
        for track in tracks:
            del self._tracks[track.id], self._motions[track.id]
            self._hidden.pop(track.id, None)

    def finish(self) -> tuple[Track, ...]:
        """End all tracks (the camera was lost, or the daemon stops); returns the confirmed ones."""
        ended = self.confirmed
        for kept in (self._tracks, self._motions, self._hidden):
            kept.clear()
        return ended

    def _note_hidden(
        self, matches: Mapping[int, str], expected: Mapping[str, Box], faces: Sequence[Face], timestamp: float
    ) -> None:
        """Note the time of the missing faces that may be behind a face of another track."""
        seen = [faces[index].box for index in matches]
        for name in expected.keys() - matches.values():
            if any(expected[name].covered_by(box) >= COVERED for box in seen):
                self._hidden[name] = timestamp

    def _expire(self, seen: set[str], timestamp: float) -> tuple[Track, ...]:
        """Remove tracks that were missing for too long, unconfirmed ones at once; returns the confirmed ones."""
        missed = [track for track in self._tracks.values() if track.id not in seen]
        gone = [track for track in missed if not track.confirmed or self._is_gone(track, timestamp)]
        self.drop(gone)
        return tuple(track for track in gone if track.confirmed)

    def _is_gone(self, track: Track, timestamp: float) -> bool:
        known = max(track.last_seen, self._hidden.get(track.id, -math.inf))
        return timestamp - known > self._max_gap or timestamp - track.last_seen > max(MAX_HIDDEN, self._max_gap)

    def _match(self, expected: Mapping[str, Box], faces: Sequence[Face]) -> dict[int, str]:
        """Position of a face -> id of its track; the best pairs first, each used once."""
        pairs = sorted(
            (
                (affinity, index, name)
                for index, face in enumerate(faces)
                for name, box in expected.items()
                if (affinity := self._affinity(name, box, face.box)) > 0
            ),
            reverse=True,
        )
        matches: dict[int, str] = {}
        for _, index, name in pairs:
            if index not in matches and name not in matches.values():
                matches[index] = name
        return matches

    def _affinity(self, name: str, expected: Box, now: Box) -> float:
        """1..2 for boxes that overlap the expected or the last one, 0..1 for near ones of similar size, else 0."""
        last, farthest = self._motions[name].box, HIDDEN_JUMP if name in self._hidden else MAX_JUMP
        overlap = expected.iou(now)
        if max(overlap, last.iou(now)) >= self._iou:
            return 1 + overlap
        side, side_now = max(last.width, last.height), max(now.width, now.height)
        jump = math.dist(expected.centre, now.centre) / max(min(side, side_now), 1.0)
        growth = max(side, side_now) / max(min(side, side_now), 1.0)
        return 1 - jump / farthest if jump < farthest and growth < MAX_GROWTH else 0.0

    def _new(self, face: Face, timestamp: float, captured_at: datetime) -> Track:
        confirmed = self._confirm_hits <= 1
        track = Track(self._make_id(captured_at), face, timestamp, timestamp, captured_at, confirmed=confirmed)
        self._motions[track.id] = Motion(face.box, timestamp)
        return track

    def _seen(self, track: Track, face: Face, timestamp: float, around: Sequence[Box]) -> Track:
        """The track with another detection, which does not tell its velocity if faces ``around`` may cover it."""
        motion = self._motions[track.id]
        covered = any(touching(face.box, box) for box in around if box is not face.box)
        self._motions[track.id] = (motion.hidden_at if covered else motion.seen_at)(face.box, timestamp)
        self._hidden.pop(track.id, None)
        hits = track.hits + 1
        confirmed = track.confirmed or hits >= self._confirm_hits
        return Track(track.id, face, track.first_seen, timestamp, track.started_at, hits, confirmed)


def touching(one: Box, other: Box) -> bool:
    """Whether two boxes overlap, or would if they were TOUCHING times as large."""
    across, down = (abs(here - there) for here, there in zip(one.centre, other.centre, strict=True))
    return 2 * across < TOUCHING * (one.width + other.width) and 2 * down < TOUCHING * (one.height + other.height)

"""People who cross, meet and pass each other, as the boxes of their faces over time, and whether each keeps its track.

Boxes stand for a detector: with its jitter and misses, and without the faces that are hidden behind others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from benchmarks.quality.faces import percent, share
from benchmarks.results.results import Measurement
from edge_emotion.config.settings import TrackingSettings
from edge_emotion.datatypes import Box, Face
from edge_emotion.pipeline.tracking import Tracker

RATES = 5.0, 10.0, 15.0, 30.0
"""Frames a second, one drawn for each scene."""

JITTER, GROWTH_JITTER, MISSED = 0.015, 0.02, 0.02
"""Standard deviations of middle (in sides) and side (as a share) of a detected box; share of faces that are missed."""

COVERED, MERGED = 0.4, 0.3
"""A face is not detected if another one covers more of it than this, or if their overlap (IoU) is above that."""

SIZES, SPEEDS, RATIO = (60.0, 180.0), (0.3, 2.0), 0.25
"""Sides of a face in pixels, speeds in sides a second, and largest difference of two sides as a share."""

UNEVEN, BOB, STEPS = 0.4, 0.04, 1.8
"""Largest change of a walking speed as a share, up and down of a head in sides, and steps a second."""

START = datetime(2000, 1, 1, tzinfo=timezone.utc)
Generator = np.random.Generator


class Walk(NamedTuple):
    """The middle of a face over time (seconds to pixels) and its side in pixels."""

    at: Callable[[float], tuple[float, float]]
    side: float

    def box(self, seconds: float) -> Box:
        """Where the face is."""
        x, y = self.at(seconds)
        return Box(x - self.side / 2, y - self.side / 2, self.side, self.side)


class Scene(NamedTuple):
    """People in one scene, the front one first; the scene lasts ``seconds``."""

    walks: tuple[Walk, ...]
    seconds: float


class Kept(NamedTuple):
    """People of one scene: how many there are, how many end with their first track, how many with one of another."""

    people: int
    kept: int
    swapped: int


def _pair(generator: Generator) -> tuple[float, float, float, float]:
    """Sides of two faces, the difference of their heights in pixels, and the half length of a path."""
    side = generator.uniform(*SIZES)
    other = side * (1 + generator.uniform(-RATIO, RATIO))
    return side, other, generator.uniform(-0.25, 0.25) * side, 2.0 * side


def _straight(start: float, velocity: float, height: float, side: float, generator: Generator) -> Walk:
    """A walk along a line, with a gait: the speed varies by up to UNEVEN, and the head goes up and down."""
    turn, phase = 2 * math.pi * generator.uniform(0.3, 1.0), generator.uniform(0, 2 * math.pi)
    uneven, step = generator.uniform(0, UNEVEN) / turn, BOB * side * np.sign(abs(velocity))

    def at(seconds: float) -> tuple[float, float]:
        gone = seconds + uneven * (math.sin(turn * seconds + phase) - math.sin(phase))
        return start + velocity * gone, height + step * math.sin(2 * math.pi * STEPS * seconds + phase)

    return Walk(at, side)


def crossing(generator: Generator) -> Scene:
    """Two people walk past each other."""
    side, other, drop, way = _pair(generator)
    one, two = generator.uniform(*SPEEDS, 2) * side
    seconds = 4 * way / (one + two)
    left = _straight(-one * seconds / 2, one, 0, side, generator)
    return Scene((left, _straight(two * seconds / 2, -two, drop, other, generator)), seconds)


def overtaking(generator: Generator) -> Scene:
    """A fast person passes a slow one who walks in the same direction."""
    side, other, drop, way = _pair(generator)
    slow = generator.uniform(0.2, 0.6) * side
    fast = slow + generator.uniform(0.5, 1.5) * side
    seconds = 2 * way / (fast - slow)
    walks = [_straight(-way, fast, 0, side, generator), _straight(0, slow, drop, other, generator)]
    return Scene(tuple(walks if generator.random() < 0.5 else walks[::-1]), seconds)


def passing_a_seat(generator: Generator) -> Scene:
    """A person walks in front of one who sits still."""
    side, other, drop, way = _pair(generator)
    speed = generator.uniform(*SPEEDS) * side
    walks = _straight(-way, speed, 0, side, generator), _straight(0, 0, drop, other, generator)
    return Scene(walks, 2 * way / speed)


def meeting(generator: Generator) -> Scene:
    """Two people come close until their faces nearly touch, stop, and go back."""
    side, other, drop, way = _pair(generator)
    speed, nearest = generator.uniform(*SPEEDS) * side, generator.uniform(0.5, 0.7) * (side + other) / 2
    there = (way - nearest) / speed

    def path(sign: int) -> Callable[[float], tuple[float, float]]:
        def at(seconds: float) -> tuple[float, float]:
            back = max(seconds - there - 1.0, 0.0)
            return sign * (way - speed * min(seconds, there) + speed * back), drop * (sign > 0)

        return at

    return Scene((Walk(path(-1), side), Walk(path(1), other)), 2 * there + 1.0)


SCENES: Mapping[str, Callable[[Generator], Scene]] = {
    "crossing": crossing,
    "overtaking": overtaking,
    "passing a seat": passing_a_seat,
    "meeting": meeting,
}


def detections(scene: Scene, fps: float, generator: Generator) -> Iterator[tuple[float, list[tuple[int, Face]]]]:
    """Seconds and the detected faces of each frame, each with the number of its person, in random order."""
    for number in range(int(scene.seconds * fps) + 1):
        boxes = [walk.box(number / fps) for walk in scene.walks]
        seen = [
            (person, _detected(_visible(box, boxes[:person]), generator))
            for person, box in enumerate(boxes)
            if generator.random() >= MISSED and not any(_hides(front, box) for front in boxes[:person])
        ]
        yield number / fps, [seen[index] for index in generator.permutation(len(seen))]


def _hides(front: Box, box: Box) -> bool:
    return front.iou(box) > MERGED or box.covered_by(front) > COVERED


def _visible(box: Box, fronts: Sequence[Box]) -> Box:
    """The box of a face that others cover in part, as detectors give it: smaller by half of that, on the free side."""
    for front in fronts:
        covered = box.covered_by(front)
        away = 1 if box.centre[0] > front.centre[0] else -1
        side = box.width * (1 - covered / 2)
        x, y = box.centre[0] + away * covered / 4 * box.width, box.centre[1]
        box = Box(x - side / 2, y - side / 2, side, side)
    return box


def _detected(box: Box, generator: Generator) -> Face:
    side = box.width * (1 + generator.normal(0, GROWTH_JITTER))
    x, y = (middle + generator.normal(0, JITTER) * box.width for middle in box.centre)
    return Face(Box(x - side / 2, y - side / 2, side, side), 0.9)


def follow(tracker: Tracker, frames: Iterator[tuple[float, list[tuple[int, Face]]]]) -> list[list[str]]:
    """For each person the tracks that had it, one for each time it was seen by a confirmed one."""
    tracks: dict[int, list[str]] = {}
    for seconds, seen in frames:
        sighting = tracker.update([face for _, face in seen], seconds, START + timedelta(seconds=seconds))
        for (person, _), track in zip(seen, sighting.present, strict=True):
            if track.confirmed:
                tracks.setdefault(person, []).append(track.id)
    return [tracks[person] for person in sorted(tracks)]


def count_kept(tracks: Sequence[Sequence[str]]) -> Kept:
    """A person has kept its track if the last one is the first; it is swapped if it was the first of another."""
    firsts = [ids[0] for ids in tracks]
    kept = sum(ids[-1] == ids[0] for ids in tracks)
    return Kept(len(tracks), kept, sum(ids[-1] != ids[0] and ids[-1] in firsts for ids in tracks))


def default_tracker(make_id: Callable[[datetime], str]) -> Tracker:
    """A tracker with the daemon's default settings."""
    settings = TrackingSettings()
    return Tracker(iou=settings.iou, confirm_hits=settings.confirm_hits, max_gap=settings.max_gap, make_id=make_id)


def measure_tracking(make_tracker: Callable[[Callable[[datetime], str]], Tracker], *, scenes: int, seed: int) -> Any:
    """``kept`` and ``swapped`` people as shares of all, by kind of scene, of ``scenes`` scenes each.

    ``make_tracker`` makes a tracker from a function that names its tracks.
    """
    figures = {}
    for kind, (name, make) in enumerate(SCENES.items()):
        counts = []
        for number in range(scenes):
            generator = np.random.default_rng((seed, kind, number))
            scene, fps = make(generator), float(generator.choice(RATES))
            counts.append(count_kept(follow(make_tracker(_namer()), detections(scene, fps, generator))))
        people = sum(one.people for one in counts)
        figures[name] = {
            "kept": share(sum(one.kept for one in counts), people),
            "swapped": share(sum(one.swapped for one in counts), people),
        }
    return figures


def _namer() -> Callable[[datetime], str]:
    names = count()
    return lambda _: f"t{next(names)}"


def tracking_measurements(figures: Mapping[str, Any]) -> Iterator[Measurement]:
    """The measurements in ``measure_tracking``' result."""
    for name, one in figures.items():
        yield from percent(name, "keep their track", one["kept"])
        swapped = percent(name, "have another's", one["swapped"])
        yield from (other.model_copy(update={"better": "lower"}) for other in swapped)

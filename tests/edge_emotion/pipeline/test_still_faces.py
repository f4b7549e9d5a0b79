"""Portraits are reported once, and people in front of them are not taken for portraits."""

from __future__ import annotations

import numpy as np
import pytest
from support.pipelines import Moods, make
from support.values import face, frame

from edge_emotion.datatypes import EmotionEvent, Face, Image
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.pipeline.still_faces import MAX_PICTURES, StillFaces, likeness, part_of

DRAW = np.random.default_rng(4)
PORTRAIT, PERSON = (np.repeat(np.repeat(DRAW.integers(0, 255, (8, 8, 3)), 10, 0), 10, 1) for _ in range(2))
WALL = face(100, 100, 80)


def picture(*shown: tuple[Face, np.ndarray], light: float = 1.0) -> Image:
    """A grey room with things that are 80 pixels wide, and the grain of a sensor."""
    room = np.full((480, 640, 3), 110.0)
    for where, what in shown:
        x, y = int(where.box.x), int(where.box.y)
        room[y : y + 80, x : x + 80] = what
    return np.clip(room * light + np.random.default_rng(1).normal(0, 3, room.shape), 0, 255).astype(np.uint8)


class Room(ScriptedDetector):
    """A pipeline and the faces that its detector finds."""

    def __init__(self, *, ignore_still: bool = True) -> None:
        super().__init__([[]])
        self.pipeline: Pipeline = make(self, Moods("happiness"), ignore_still=ignore_still)
        self.now = 0.0

    def show(self, seconds: float, *shown: tuple[Face, np.ndarray], light: float = 1.0) -> list[EmotionEvent]:
        image, events = picture(*shown, light=light), []
        self._script = [[where for where, _ in shown]]
        for _ in range(round(seconds * 5)):
            self.now += 0.2
            events += self.pipeline.process(frame(self.now, image))
        return events


def kinds(events: list[EmotionEvent]) -> list[str]:
    return [event.type for event in events]


def test_a_portrait_is_reported_once_and_then_ignored() -> None:
    room = Room()
    assert kinds(room.show(40, (WALL, PORTRAIT))) == ["start", "end"]
    state = room.pipeline.state()
    assert state is not None
    assert state.faces == 0
    assert room.show(5, (WALL, PORTRAIT), light=0.7) == []
    assert room.show(20) == []
    assert room.show(5, (WALL, PORTRAIT)) == []


def test_without_the_setting_a_portrait_stays() -> None:
    assert kinds(Room(ignore_still=False).show(40, (WALL, PORTRAIT))) == ["start"]


def test_a_person_before_the_portrait_and_one_beside_it_are_reported() -> None:
    room = Room()
    room.show(40, (WALL, PORTRAIT))
    assert kinds(room.show(2, (WALL, PERSON))) == ["start"]
    assert kinds(room.show(2, (WALL, PORTRAIT))) == ["end"]
    assert kinds(room.show(2, (WALL, PORTRAIT), (face(400, 100, 80), PERSON))) == ["start"]


def test_someone_who_moves_a_little_is_never_still() -> None:
    room = Room()
    events = room.show(2, (WALL, PERSON))
    for step in range(30):
        events += room.show(2, (face(100 + 3 * (step % 2), 100, 80), PERSON))
    assert kinds(events) == ["start"]


def test_a_camera_that_is_turned_forgets_the_portraits() -> None:
    still, part = StillFaces(), picture((WALL, PORTRAIT))
    room = Room()
    room.show(40, (WALL, PORTRAIT))
    known = room.pipeline._still
    assert known is not None and known.living(part, [WALL], room.now) == []
    known.forget()
    assert known.living(part, [WALL], room.now) == [WALL]
    assert still.living(part, [WALL], 0.0) == [WALL]


def test_no_more_pictures_are_remembered_than_the_limit() -> None:
    room = Room()
    places = [face(80 * (n % 8), 80 * (n // 8), 80) for n in range(MAX_PICTURES + 4)]
    ended = kinds(room.show(35, *((where, PORTRAIT) for where in places))).count("end")
    known = room.pipeline._still
    assert known is not None
    assert ended >= len(places) and len(known._pictures) == MAX_PICTURES


def test_parts_are_alike_whatever_the_light_and_flat_ones_have_no_likeness() -> None:
    bright, dim = (part_of(picture((WALL, PORTRAIT), light=light), WALL.box) for light in (1.0, 0.5))
    other = part_of(picture((WALL, PERSON)), WALL.box)
    assert likeness(bright, dim) == pytest.approx(1, abs=0.01)
    assert likeness(bright, other) < 0.7
    flat = np.zeros_like(bright)
    assert (likeness(flat, flat), likeness(flat, bright)) == (1.0, 0.0)
    assert part_of(picture(), face(639, 479, 80).box).shape == bright.shape

"""Which detector looks at a frame, and that no known face is lost between two of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from support.values import face

from edge_emotion.datatypes import Face, Image
from edge_emotion.pipeline.following import FaceFollower
from edge_emotion.pipeline.searching import FaceSearch, Known

PICTURE = np.zeros((480, 640, 3), np.uint8)
HERE, THERE = face(100, 100), face(400, 200)


class Answer(NamedTuple):
    faces: tuple[Face, ...]
    unsure: bool = False


class Scene:
    """Three detectors of one picture that count their calls."""

    def __init__(self) -> None:
        self.thorough: tuple[Face, ...] = ()
        self.quick = Answer(())
        self.near: tuple[Face, ...] = ()
        self.calls: list[str] = []

    def detect(self, image: Image) -> tuple[Face, ...]:
        self.calls.append("thorough")
        return self.thorough

    def propose(self, image: Image) -> Answer:
        self.calls.append("quick")
        return self.quick

    def search(self, refresh: float = 1.0, idle: float = 2.0) -> FaceSearch:
        return FaceSearch(self, Near(self), self, refresh_interval=refresh, idle_refresh_interval=idle)


class Near(FaceFollower):
    """A follower that finds the faces of the scene."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene, 128)
        self._scene = scene

    def refine(self, image: Image, box: object) -> Face | None:
        self._scene.calls.append("near")
        return next((one for one in self._scene.near if one.box.iou(box) >= 0.2), None)  # type: ignore[arg-type]


def test_an_empty_room_is_searched_quickly_and_now_and_then_thoroughly() -> None:
    scene = Scene()
    search = scene.search()
    for frame in range(21):
        assert not search.find(PICTURE, frame * 0.2, Known())
    assert scene.calls == (["thorough"] + ["quick"] * 9) * 2 + ["thorough"]


def test_while_somebody_is_there_thorough_searches_come_more_often() -> None:
    scene = Scene()
    scene.quick, scene.thorough = Answer((HERE,)), (HERE,)
    search = scene.search()
    for frame in range(6):
        assert list(search.find(PICTURE, frame * 0.25, Known(all=[HERE]))) == [HERE]
    assert scene.calls == ["thorough", "quick", "quick", "quick", "thorough", "quick"]


def test_an_unsure_answer_is_checked_but_not_in_every_frame() -> None:
    scene = Scene()
    scene.quick, scene.thorough = Answer((), unsure=True), (THERE,)
    search = scene.search(idle=60)
    found = [list(search.find(PICTURE, frame * 0.5, Known())) for frame in range(5)]
    assert scene.calls == ["thorough", "quick", "quick", "thorough", "quick", "quick", "thorough"]
    assert found == [[THERE], [], [THERE], [], [THERE]]


def test_a_known_face_that_the_quick_search_misses_is_looked_for_where_it_was() -> None:
    scene = Scene()
    search = scene.search()
    search.find(PICTURE, 0.0, Known())
    scene.quick, scene.near = Answer((HERE,)), (THERE,)
    assert search.find(PICTURE, 0.2, Known(all=[HERE, THERE])) == [HERE, THERE]
    assert scene.calls == ["thorough", "quick", "near"]


def test_a_known_face_that_is_nowhere_near_causes_a_thorough_search() -> None:
    scene = Scene()
    search = scene.search()
    search.find(PICTURE, 0.0, Known())
    scene.thorough = (THERE,)
    assert list(search.find(PICTURE, 0.2, Known(all=[THERE]))) == [THERE]
    assert scene.calls == ["thorough", "quick", "near", "thorough"]


def test_steady_faces_are_followed_and_nothing_else_is_looked_at() -> None:
    scene = Scene()
    scene.thorough = scene.near = (HERE,)
    search = scene.search()
    search.find(PICTURE, 0.0, Known())
    assert search.find(PICTURE, 0.1, Known([HERE], [HERE])) == [HERE]
    assert scene.calls == ["thorough", "near"]


@pytest.mark.parametrize("idle", [0.0, 2.0])
def test_without_a_refresh_interval_every_frame_is_searched_thoroughly(idle: float) -> None:
    scene = Scene()
    search = scene.search(refresh=0, idle=idle)
    for frame in range(3):
        search.find(PICTURE, frame * 0.1, Known())
    assert scene.calls == ["thorough"] * 3


def test_a_clock_that_steps_back_does_not_stop_thorough_searches() -> None:
    scene = Scene()
    search = scene.search()
    search.find(PICTURE, 100.0, Known())
    search.find(PICTURE, 3.0, Known())
    assert scene.calls == ["thorough", "thorough"]

"""Pictures with boxes and labels: what is drawn, and where."""

from __future__ import annotations

import numpy as np
import pytest

from edge_emotion.cli.annotate import COLOURS, annotate, place_label
from edge_emotion.datatypes import Box, EmotionScores, Face
from edge_emotion.labels import EMOTIONS

GREY = 90


def face(x: float, y: float, side: float) -> Face:
    return Face(Box(x, y, side, side), 0.9)


def scores(emotion: str) -> EmotionScores:
    return EmotionScores(EMOTIONS, tuple(0.93 if name == emotion else 0.01 for name in EMOTIONS))


def bgr(emotion: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(COLOURS[emotion][1:]))[::-1]


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_each_emotion_has_its_colour(emotion: str) -> None:
    picture = annotate(np.full((400, 400, 3), GREY, np.uint8), [(face(100, 100, 200), scores(emotion))])
    assert tuple(picture[200, 100]) == bgr(emotion)


@pytest.mark.parametrize("size", [(480, 640), (400, 60), (14, 120), (48, 48), (3000, 4000)])
@pytest.mark.parametrize("share", [(0.0, 0.0), (1.0, 0.5), (0.98, 0.99), (-0.1, 1.2), (0.3, 0.3)])
def test_a_label_lies_whole_in_the_picture(size: tuple[int, int], share: tuple[float, float]) -> None:
    corner = round(share[0] * size[1]), round(share[1] * size[0])
    strip = place_label("12 happiness 100%", size, corner)
    assert 0 <= strip.left < strip.right <= size[1]
    assert 0 <= strip.top < strip.baseline < strip.bottom <= size[0]


def test_a_label_stands_above_its_face_where_there_is_room() -> None:
    strip = place_label("1 fear 70%", (480, 640), (100, 200))
    assert (strip.left, strip.bottom) == (100, 200)


def test_faces_are_numbered_as_in_the_text() -> None:
    picture = np.full((300, 600, 3), GREY, np.uint8)
    twice = annotate(picture, [(face(50, 100, 80), scores("anger")), (face(350, 100, 80), scores("anger"))])
    first, second = twice[60:101, 50:250], twice[60:101, 350:550]
    assert not np.array_equal(first, second)  # the numbers differ
    assert np.array_equal(first[:, 30:], second[:, 30:])

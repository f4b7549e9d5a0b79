from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from support.values import face, scores

from edge_emotion.datatypes import Box, CameraState, EmotionEvent, Face, Track
from edge_emotion.pipeline.face_quality import face_quality
from edge_emotion.wire.ulid import ALPHABET, ulid


def test_overlap_of_boxes() -> None:
    box = Box(0, 0, 10, 10)
    assert box.iou(box) == 1
    assert box.iou(Box(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert box.iou(Box(10, 0, 10, 10)) == 0
    assert box.iou(Box(3, 3, 0, 0)) == 0


def test_boxes_are_clipped_and_scaled() -> None:
    assert Box(-5, 5, 20, 20).clip(10, 10) == Box(0, 5, 10, 5)
    assert Box(50, 50, 5, 5).clip(10, 10).area == 0
    assert Box(320, 240, 64, 48).scaled(1 / 640, 1 / 480) == Box(0.5, 0.5, 0.1, 0.1)


def test_roll_is_the_angle_of_the_eyes() -> None:
    tilted = dataclasses.replace(face(), landmarks=((100, 100), (150, 150)))
    assert math.degrees(tilted.roll) == pytest.approx(45)
    assert face().roll == 0


def test_scores_know_their_best() -> None:
    distribution = scores(fear=0.7)
    assert (distribution.emotion, distribution.confidence) == ("fear", 0.7)
    assert sum(distribution.as_dict().values()) == pytest.approx(1)


def test_no_value_that_leaves_the_device_can_hold_a_picture() -> None:
    for value in (EmotionEvent, CameraState, Track, Face):
        for field in dataclasses.fields(value):
            assert "Image" not in str(field.type), f"{value.__name__}.{field.name}"
            assert "NDArray" not in str(field.type), f"{value.__name__}.{field.name}"


def test_ids_sort_by_time_and_differ() -> None:
    from support.values import EPOCH

    first, second = ulid(EPOCH), ulid(EPOCH.replace(microsecond=500_000))
    assert first < second
    assert len({ulid(EPOCH) for _ in range(100)}) == 100
    assert len(first) == 26
    assert set(first) <= set(ALPHABET)


def test_quality_falls_with_size_score_and_turning_away() -> None:
    eyes = ((100.0, 100.0), (140.0, 100.0))
    frontal = Face(Box(80, 80, 96, 96), 1.0, (*eyes, (120.0, 120.0)))
    turned = dataclasses.replace(frontal, landmarks=(*eyes, (135.0, 120.0)))
    small = dataclasses.replace(frontal, box=Box(80, 80, 24, 24))
    assert face_quality(frontal, 48) == pytest.approx(1.0)
    assert face_quality(turned, 48) == pytest.approx(0.25)
    assert face_quality(small, 48) == pytest.approx(0.5)
    assert face_quality(dataclasses.replace(frontal, score=0.6), 48) == pytest.approx(0.6)
    assert np.isfinite(face_quality(dataclasses.replace(frontal, landmarks=((1, 1), (1, 1), (1, 1))), 48))

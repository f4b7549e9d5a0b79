"""Fine-tuning of the face detector: scenes with known boxes, their assignment to cells, and a short run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.values import face

from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.factory.models import make_detector
from edge_emotion.models.manifest import SquareSpec
from train.data.faces import DataError
from train.data.pictures import SQUARE as SIDE
from train.data.pictures import read_squares
from train.detector.assignment import assign, overlap
from train.detector.fit import DetectorRecipe, DetectorTraining
from train.detector.scenes import MOST_FACES, LabelledFaces, label_faces, scene
from train.networks.yunet import build_yunet

SQUARE = SquareSpec(side=0.834, shift=0.07)
FLAT = LabelledFaces(np.full((3, 48, 48), 180, np.uint8), np.full((3, 4), 0.5, np.float32))


def test_teachers_label_real_faces_within_their_pictures(few_real_faces: Any) -> None:
    faces = few_real_faces["train"].images[:12]
    labelled = label_faces(faces, [make_detector("yunet_640"), make_detector("blazeface_back")], SQUARE)
    assert 6 <= len(labelled.images) == len(labelled.boxes) <= 12
    x, y, width, height = np.median(labelled.boxes, axis=0)
    assert 0.4 < x < 0.6 and 0.4 < y < 0.7 and 0.5 < width < 1.0 and width < height < 1.3


def test_faces_that_nobody_finds_are_an_error() -> None:
    with pytest.raises(DataError, match="no teacher finds one of the faces"):
        label_faces(FLAT.images, [ScriptedDetector([])], SQUARE)


def test_a_scene_follows_from_its_seed() -> None:
    first, again = (scene(FLAT, 120, 160, np.random.default_rng((1, 3)), turned=True) for _ in range(2))
    assert all(map(np.array_equal, first, again))
    for picture in first[:2]:
        assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8


def test_the_boxes_of_a_turned_scene_lie_on_its_faces() -> None:
    """White discs on black pictures, whose boxes touch them: what is bright of a scene is where its boxes are."""
    disc = cv2.circle(np.zeros((64, 64), np.uint8), (30, 34), 20, 255, -1)
    faces = LabelledFaces(np.stack([disc]), np.float32([[30 / 64, 34 / 64, 41 / 64, 41 / 64]]))
    counts = []
    for number in range(40):
        one = scene(faces, 240, 320, np.random.default_rng((1, number)), turned=True)
        counts.append(len(one.boxes))
        for x, y, width, height in one.boxes[one.boxes[:, 2] > 16]:
            spot = one.plain[int(max(y - height / 2, 0)) : int(y + height / 2) + 1,
                             int(max(x - width / 2, 0)) : int(x + width / 2) + 1]  # fmt: skip
            assert spot.mean() > 35, "the disc fills half of its box and more, in a tint, and some are covered"
    assert min(counts) == 0 and 2 < max(counts) <= MOST_FACES


def test_a_scene_that_is_not_turned_is_seen_where_it_was() -> None:
    """What is light in the plain scene is light in the one that is seen, noise averaged."""
    faces = LabelledFaces(
        np.stack([np.tile(np.arange(0, 240, 5, np.uint8), (48, 1))]), np.float32([[0.5, 0.5, 0.8, 1]])
    )
    compared = 0
    for number in range(20):
        one = scene(faces, 120, 160, np.random.default_rng((2, number)), turned=False)
        plain, seen = (cv2.GaussianBlur(picture, (0, 0), 4).astype(float).ravel() for picture in one[:2])
        if seen.mean() > 40 and plain.std() > 25:
            compared += 1
            assert np.corrcoef(plain, seen)[0, 1] > 0.9
    assert compared > 4


def test_pictures_of_any_shape_become_squares(tmp_path: Path) -> None:
    cv2.imwrite(
        str(tmp_path / "wide.png"), np.hstack([np.zeros((60, 60, 3)), np.full((60, 60, 3), 255), np.zeros((60, 60, 3))])
    )
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    squares = read_squares(tmp_path, 10, seed=1)
    assert squares.shape == (1, SIDE, SIDE, 3) and squares.min() == 255
    with pytest.raises(DataError, match="holds no pictures that can be read"):
        read_squares(tmp_path / "nothing", 10, seed=1)


def test_cells_near_a_face_with_the_best_boxes_answer_for_it() -> None:
    cells = np.float32([[0, 0], [8, 0], [16, 0], [64, 64]])
    strides = np.full((4, 1), 8, np.float32)
    boxes = np.float32([[4, 4, 8, 8], [12, 4, 10, 10], [12, 4, 20, 20], [68, 68, 8, 8]])
    answers = assign(np.full(4, 0.5, np.float32), boxes, cells, strides, np.float32([[12, 4, 10, 10]]))
    assert answers.tolist() == [-1, 0, -1, -1]
    assert overlap(boxes[1:3], np.float32([12, 4, 10, 10])).tolist() == pytest.approx([1.0, 0.25])
    assert (assign(np.full(4, 0.5, np.float32), boxes, cells, strides, np.zeros((0, 4), np.float32)) == -1).all()


def test_a_short_run_learns_resumes_and_refuses_other_numbers(tmp_path: Path) -> None:
    """Bright ovals on dull textures, from random weights: the loss falls, and a second call goes on."""
    start, run = tmp_path / "start.h5", tmp_path / "run"
    build_yunet(96, 96).save_weights(str(start))
    numbers = {"scenes": 32, "batch": 8, "learning_rate": 2e-2, "height": 96, "width": 96, "validation": 8}
    best = DetectorTraining(run, FLAT, DetectorRecipe(epochs=3, **numbers), start).run()
    log = json.loads((run / "log.json").read_text())
    assert best.is_file() and len(log["epochs"]) == 3
    assert log["epochs"][-1]["loss"] < 0.7 * log["epochs"][0]["loss"]
    DetectorTraining(run, FLAT, DetectorRecipe(epochs=3, **numbers), start).run()
    assert json.loads((run / "log.json").read_text()) == log, "nothing was left to do"
    with pytest.raises(ConfigError, match="was begun with other numbers"):
        DetectorTraining(run, FLAT, DetectorRecipe(epochs=3, **numbers | {"batch": 4}), start)
    with pytest.raises(ConfigError, match="--batch 3: give an even number"):
        DetectorRecipe(batch=3)
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"junk\.h5 holds no weights of YuNet"):
        DetectorTraining(tmp_path / "other", FLAT, DetectorRecipe(**numbers), tmp_path / "junk.h5")


def test_a_script_is_a_teacher_too() -> None:
    """A square in the middle of the placed crop becomes a box a little higher and taller."""
    (box,) = label_faces(np.zeros((1, 48, 48), np.uint8), [ScriptedDetector([[face(260, 180, 120)]])], SQUARE).boxes
    height = 120 / 0.834
    assert box.tolist() == pytest.approx([0.5, 0.5 - 0.07 * height / 160, 0.8 * height / 160, height / 160])

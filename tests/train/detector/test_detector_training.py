"""Fine-tuning of the face detector: scenes with known boxes, their assignment to cells, and a short run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.values import face

from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.errors import ConfigError, ModelError
from edge_emotion.factory.models import make_detector
from edge_emotion.models.manifest import SquareSpec
from train.data.faces import DataError
from train.detector.assignment import assign, overlap
from train.detector.fit import DetectorRecipe, DetectorTraining
from train.detector.scenes import MOST_FACES, LabelledFaces, label_faces, scene
from train.networks.yunet import build_yunet

SQUARE = SquareSpec(side=0.834, shift=0.07)
FLAT = LabelledFaces(np.full((3, 48, 48), 180, np.uint8), np.full((3, 4), 0.5, np.float32))


def test_teachers_label_real_faces_within_their_crops(few_real_faces: Any) -> None:
    faces = few_real_faces["train"].take(np.arange(12))
    labelled = label_faces(faces, [make_detector("yunet_640"), make_detector("blazeface_back")], SQUARE)
    assert 6 <= len(labelled.images) == len(labelled.boxes) <= 12
    x, y, width, height = np.median(labelled.boxes, axis=0)
    assert 0.4 < x < 0.6 and 0.4 < y < 0.7 and 0.5 < width < 1.0 and width < height < 1.3


def test_faces_that_nobody_finds_are_an_error(few_faces: Any) -> None:
    with pytest.raises(DataError, match="no teacher finds one of the faces"):
        label_faces(few_faces["train"].take(np.arange(2)), [ScriptedDetector([])], SQUARE)


def test_a_scene_follows_from_its_seed_and_its_boxes_lie_on_its_faces() -> None:
    pictures = [scene(FLAT, 120, 160, np.random.default_rng((1, n))) for n in range(40)]
    again, boxes_again = scene(FLAT, 120, 160, np.random.default_rng((1, 3)))
    assert np.array_equal(again, pictures[3][0]) and np.array_equal(boxes_again, pictures[3][1])
    counts = [len(boxes) for _, boxes in pictures]
    assert min(counts) == 0 and 1 < max(counts) <= MOST_FACES
    for picture, boxes in pictures:
        assert picture.shape == (120, 160, 3) and picture.dtype == np.uint8 and boxes.shape[1] == 4
        assert ((boxes[:, 0] > 0) & (boxes[:, 0] < 160) & (boxes[:, 1] > 0) & (boxes[:, 1] < 120)).all()
        assert (boxes[:, 2:] > 1).all() and (boxes[:, 2:] < 120).all()


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
    numbers = {"pictures": 32, "batch": 8, "learning_rate": 2e-2, "height": 96, "width": 96, "validation": 8}
    best = DetectorTraining(run, FLAT, DetectorRecipe(epochs=3, **numbers), start).run()
    log = json.loads((run / "log.json").read_text())
    assert best.is_file() and len(log["epochs"]) == 3
    assert log["epochs"][-1]["loss"] < 0.7 * log["epochs"][0]["loss"]
    DetectorTraining(run, FLAT, DetectorRecipe(epochs=3, **numbers), start).run()
    assert json.loads((run / "log.json").read_text()) == log, "nothing was left to do"
    with pytest.raises(ConfigError, match="was begun with other numbers"):
        DetectorTraining(run, FLAT, DetectorRecipe(epochs=3, **numbers | {"batch": 4}), start)
    (tmp_path / "junk.h5").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"junk\.h5 holds no weights of YuNet"):
        DetectorTraining(tmp_path / "other", FLAT, DetectorRecipe(**numbers), tmp_path / "junk.h5")


def test_a_script_is_a_teacher_too() -> None:
    """A square in the middle of the placed crop becomes a box a little higher and taller."""
    from train.data.faces import Faces

    faces = Faces(np.zeros((1, 48, 48), np.uint8), np.ones((1, 1), np.float32), np.ones(1, np.bool_))
    (box,) = label_faces(faces, [ScriptedDetector([[face(260, 180, 120)]])], SQUARE).boxes
    height = 120 / 0.834
    assert box.tolist() == pytest.approx([0.5, 0.5 - 0.07 * height / 160, 0.8 * height / 160, height / 160])

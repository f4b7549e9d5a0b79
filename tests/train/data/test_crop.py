"""How the training faces are framed, against the detector's boxes."""

from __future__ import annotations

import numpy as np
import pytest

from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.factory.models import make_classifier, make_detector

pytest.importorskip("tf_keras")

from train.data.crop import measure_framing, paste
from train.data.faces import DataError, DataSet
from train.evaluation.end_to_end import measure_whole_path
from train.recipes.recipe import FER_CROP


def test_the_crop_of_the_recipes_is_what_is_measured(fer_plus: DataSet) -> None:
    faces = fer_plus["train"]
    framing = measure_framing(faces, make_detector("blazeface_back"), count=150, seed=1)
    assert framing.found >= 140
    assert framing.margin == pytest.approx(FER_CROP.margin, abs=0.03)
    assert framing.shift == pytest.approx(FER_CROP.shift, abs=0.03)


def test_a_pasted_face_lies_where_it_is_said_to(fer_plus: DataSet) -> None:
    face, generator = fer_plus["train"].images[0], np.random.default_rng(3)
    for _ in range(5):
        picture, square = paste(face, generator)
        x, y, side = int(square.x), int(square.y), int(square.width)
        assert picture.shape == (480, 640, 3) and 100 <= side <= 220
        middle = picture[y : y + side, x : x + side, 0]
        assert np.abs(middle.mean() - face.mean()) < 2 and (picture[: y + 1] == picture[y]).all()


def test_a_coloured_face_keeps_its_colours() -> None:
    picture, square = paste(np.full((96, 96, 3), (10, 100, 200), np.uint8), np.random.default_rng(3))
    assert picture.shape == (480, 640, 3)
    assert picture[int(square.centre[1]), int(square.centre[0])].tolist() == [10, 100, 200]


def test_nothing_is_measured_where_no_face_is_found(fer_plus: DataSet) -> None:
    blind = ScriptedDetector([])
    with pytest.raises(DataError, match="finds none of 10 pasted faces"):
        measure_framing(fer_plus["train"], blind, count=10, seed=1)
    faces = fer_plus["validation"].take(np.arange(4))
    with pytest.raises(DataError, match="finds none of 4 pasted faces"):
        measure_whole_path(make_classifier("tiny"), blind, faces, faces.labels)

"""How the training faces are framed, against the detector's boxes."""

from __future__ import annotations

import pytest

from edge_emotion.factory import make_detector

pytest.importorskip("tf_keras")

from train.crop import measure_framing
from train.faces import DataSet
from train.recipes import FER_CROP


def test_the_crop_of_the_recipes_is_what_is_measured(fer_plus: DataSet) -> None:
    faces = fer_plus["train"]
    framing = measure_framing(faces, make_detector("blazeface_back"), count=150, seed=1)
    assert framing.found >= 140
    assert framing.margin == pytest.approx(FER_CROP.margin, abs=0.03)
    assert framing.shift == pytest.approx(FER_CROP.shift, abs=0.03)

"""The doubts about pictures of faces: each measure by itself, on drawn crops."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_emotion.datatypes import Box, Face
from edge_emotion.factory.models import make_classifier
from edge_emotion.models.preprocess import normalise
from edge_emotion.pipeline.quality_gate import Doubt, NeededConfidence, QualityGate, grey_crop, measure_crop

NEEDED = NeededConfidence(dark=0.8, blurred=0.75, turned=0.7, hidden_eyes=0.9, hidden_mouth=0.85, small=0.65)
POINTS = ((20.0, 20.0), (60.0, 20.0), (40.0, 40.0), (40.0, 60.0))
GOOD = Face(Box(0, 0, 80, 80), 0.9, POINTS)
Crop = npt.NDArray[np.uint8]


def texture() -> Crop:
    """48 x 48 grey levels with details of every size, as a face has them."""
    draw = np.random.default_rng(3)
    levels = [cv2.resize(draw.normal(0, 1, (n, n)), (48, 48), interpolation=cv2.INTER_LINEAR) for n in (6, 12, 24, 48)]
    return np.clip(128 + 22 * np.sum(levels, axis=0), 0, 255).astype(np.uint8)


def doubt(crop: Crop, face: Face = GOOD, needed: NeededConfidence = NEEDED, model: str = "tiny") -> Doubt | None:
    spec = make_classifier(model).manifest.input
    pixels = cv2.resize(crop, (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
    (found,) = QualityGate(needed, spec).doubts(normalise(pixels[None, :, :, None], spec), [face])
    return found


def barred(rows: slice, grey: int) -> Crop:
    crop = texture()
    crop[rows, 5:43] = grey
    return crop


@pytest.mark.parametrize("model", ["tiny", "mobilenet_v2"])
def test_a_face_with_details_in_daylight_is_not_doubted(model: str) -> None:
    assert doubt(texture(), model=model) is None


def test_each_defect_has_its_reason_and_its_confidence() -> None:
    assert doubt((texture() * 0.12).astype(np.uint8)) == ("dark", 0.8)
    assert doubt(cv2.GaussianBlur(texture(), (0, 0), 2.5)) == ("blurred", 0.75)
    assert doubt(barred(slice(10, 20), 20)) == ("hidden", 0.9)
    assert doubt(barred(slice(30, 42), 220)) == ("hidden", 0.85)
    assert doubt(texture(), Face(Box(0, 0, 23, 20), 0.9)) == ("small", 0.65)
    profile = (*POINTS[:2], (70.0, 40.0), POINTS[3])
    assert doubt(texture(), Face(GOOD.box, 0.9, profile)) == ("turned", 0.7)
    steep = ((20.0, 20.0), (30.0, 50.0), (10.0, 40.0), (0.0, 45.0))
    assert doubt(texture(), Face(GOOD.box, 0.9, steep)) == ("turned", 0.7)


def test_a_bar_with_the_grain_of_a_sensor_still_hides() -> None:
    crop = barred(slice(10, 20), 20).astype(float) + np.random.default_rng(1).normal(0, 1, (48, 48))
    assert doubt(np.clip(crop, 0, 255).astype(np.uint8)) == ("hidden", 0.9)


def test_of_several_defects_the_first_is_told_and_the_strictest_counts() -> None:
    crop = (barred(slice(10, 20), 20) * 0.12).astype(np.uint8)
    assert doubt(crop) == ("dark", 0.9)


def test_a_defect_that_needs_no_confidence_is_ignored() -> None:
    assert doubt((texture() * 0.12).astype(np.uint8), needed=NeededConfidence(blurred=0.75)) is None


def test_black_and_white_crops_have_finite_measures() -> None:
    for level in (0, 255):
        assert np.isfinite(measure_crop(np.full((48, 48), level, np.float32))).all()


def test_several_faces_are_measured_as_each_alone() -> None:
    spec = make_classifier("tiny").manifest.input
    crops = normalise(np.stack([texture(), barred(slice(10, 20), 20)])[..., None], spec)
    assert QualityGate(NEEDED, spec).doubts(crops, [GOOD, GOOD]) == [None, ("hidden", 0.9)]
    assert QualityGate(NEEDED, spec).doubts(crops[:0], []) == []


def test_a_colour_crop_is_measured_in_grey() -> None:
    spec = make_classifier("tiny").manifest.input.model_copy(update={"channels": 3, "colour": "bgr"})
    crop = normalise(np.repeat(texture()[:, :, None], 3, axis=2), spec)
    assert grey_crop(crop, spec) == pytest.approx(texture(), abs=0.01)

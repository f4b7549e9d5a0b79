"""Two detectors in a row: what one proposes the other confirms."""

from __future__ import annotations

import numpy as np
import pytest
from support.values import face

from edge_emotion.config.settings import DetectorSettings
from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.detectors.cascade import CascadeDetector
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.errors import ConfigError
from edge_emotion.factory.models import fastest_precision, following_detector, quick_detector
from edge_emotion.models.preprocess import brightness, lightened
from edge_emotion.protocols import FaceDetector
from edge_emotion.system.processor import has_dot_products

LIGHT = np.full((480, 640, 3), 128, np.uint8)


class Confirming:
    """A refiner that knows some faces, and remembers the pictures that it was given."""

    def __init__(self, *faces: Face) -> None:
        self.faces = faces
        self.seen: list[Image] = []

    def refine(self, image: Image, box: Box) -> Face | None:
        self.seen.append(image)
        return next((one for one in self.faces if one.box.iou(box) >= 0.2), None)


def cascade(proposals: list[Face], refiner: Confirming, **options: int) -> CascadeDetector:
    return CascadeDetector(ScriptedDetector([proposals]), refiner, alone=0.6, **options)


def test_a_confirmed_proposal_is_the_face_that_confirms_it() -> None:
    exact = Face(Box(105, 102, 80, 80), 0.8, ((120, 130), (160, 130)))
    proposed = cascade([face(100, 100, score=0.35)], Confirming(exact)).propose(LIGHT)
    assert proposed.faces == (exact,) and not proposed.unsure


def test_what_nobody_confirms_counts_only_with_a_high_score_and_makes_the_answer_unsure() -> None:
    strong, weak = face(100, 100, score=0.7), face(400, 100, score=0.5)
    proposed = cascade([strong, weak], Confirming()).propose(LIGHT)
    assert proposed.faces == (strong,) and proposed.unsure
    nothing = cascade([], Confirming()).propose(LIGHT)
    assert nothing.faces == () and not nothing.unsure


def test_two_proposals_of_one_face_are_one_and_faces_come_best_first() -> None:
    first, second = face(100, 100, score=0.7), face(300, 100, score=0.9)
    found = cascade([face(104, 100), face(96, 100), face(300, 100)], Confirming(first, second)).detect(LIGHT)
    assert found == (second, first)


def test_small_faces_are_left_out_and_no_more_proposals_are_looked_at_than_there_may_be_faces() -> None:
    small, refiner = face(100, 100, size=30), Confirming()
    assert not cascade([small], Confirming(small), min_size=40).detect(LIGHT)
    cascade([face(10 + 100 * n, 100) for n in range(5)], refiner, max_faces=2).detect(LIGHT)
    assert len(refiner.seen) == 2


def test_a_dark_picture_is_lightened_and_never_sure() -> None:
    dark, refiner = np.full((480, 640, 3), 9, np.uint8), Confirming(face())
    proposed = cascade([face()], refiner).propose(dark)
    assert proposed.unsure and proposed.faces
    assert brightness(refiner.seen[0]) == pytest.approx(90) and (dark == 9).all()
    assert brightness(lightened(np.zeros((16, 16, 3), np.uint8), 0.0)) == 0


def test_the_real_one_finds_a_face_with_its_eyes_and_nothing_where_nobody_is(astronaut: Image) -> None:
    options = DetectorSettings(quick_model="yunet")
    detector = quick_detector(options, following_detector(options))
    assert isinstance(detector, FaceDetector)
    (found,) = detector.detect(astronaut)
    assert found.box.iou(Box(250, 75, 90, 90)) > 0.7 and len(found.landmarks) == 6
    assert not detector.detect(LIGHT) and not detector.detect(np.zeros((1, 1, 3), np.uint8))
    dim = np.asarray(astronaut * 0.1, np.uint8)
    proposed = detector.propose(dim)  # type: ignore[attr-defined]
    assert proposed.unsure and proposed.faces[0].box.iou(found.box) > 0.6


def test_it_is_the_default_unless_the_following_detector_searches_everything() -> None:
    options = DetectorSettings()
    assert isinstance(quick_detector(options, following_detector(options)), CascadeDetector)
    near = DetectorSettings(model="blazeface_short")
    assert quick_detector(near, following_detector(near)) is None


def test_there_is_none_where_none_is_wanted_and_the_following_detector_cannot_be_both() -> None:
    none = DetectorSettings(quick_model="none")
    assert quick_detector(none, following_detector(none)) is None
    with pytest.raises(ConfigError, match="set quick_model to none, or another model"):
        quick_detector(DetectorSettings(model="blazeface_short", quick_model="yunet"), None)


def test_float_is_taken_where_int8_would_be_slower() -> None:
    assert has_dot_products("processor : 0\nflags : fpu avx2 avx512_vnni\n")
    assert not has_dot_products("processor : 0\nflags : fpu avx2\nbugs : avx512_vnni\n")
    assert fastest_precision("yunet") in (None, "float32") and fastest_precision("blazeface_short") in (None, "float32")

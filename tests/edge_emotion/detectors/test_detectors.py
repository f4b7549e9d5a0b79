"""Detectors on real faces, and one contract for the real and the scripted ones."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.values import face

from edge_emotion.backends.constant import ConstantBackend
from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.detectors.blazeface import BlazeFaceDetector, anchor_centres, decode, weighted_nms
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.errors import ModelError
from edge_emotion.factory.models import make_detector
from edge_emotion.models.folder import find_model, load_manifest
from edge_emotion.models.manifest import AnchorSpec, DetectorManifest
from edge_emotion.protocols import FaceDetector

ASTRONAUT = Box(250, 75, 90, 90)
"""Where her face is in the fixture, brow to chin."""


def read_all(path: Path) -> list[Image]:
    capture, images = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        images.append(np.asarray(read[1], np.uint8))
    capture.release()
    return images


@pytest.mark.parametrize(
    "detector",
    [
        make_detector("blazeface_back"),
        make_detector("blazeface_short"),
        make_detector("yunet"),
        make_detector("yunet_640"),
        make_detector("yunet", precision="float32"),
        ScriptedDetector([[face()]]),
        ScriptedDetector([]),
    ],
    ids=["back", "short", "yunet", "yunet 640", "yunet in float", "scripted", "empty script"],
)
def test_contract(detector: FaceDetector, astronaut: Image) -> None:
    before = astronaut.copy()
    assert isinstance(detector, FaceDetector)
    for image in (astronaut, np.zeros((48, 48, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)):
        faces = detector.detect(image)
        assert all(isinstance(found, Face) and 0 <= found.score <= 1 for found in faces)
        assert [found.score for found in faces] == sorted((found.score for found in faces), reverse=True)
    assert np.array_equal(astronaut, before)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["blazeface_back", "blazeface_short"])
def test_a_real_face_is_found_where_it_is(name: str, astronaut: Image) -> None:
    (found,) = make_detector(name).detect(astronaut)
    assert found.box.iou(ASTRONAUT) > 0.7
    assert found.score > 0.7
    left_eye, right_eye, nose, mouth, left_ear, right_ear = found.landmarks
    assert left_ear[0] < left_eye[0] < nose[0] < right_eye[0] < right_ear[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < mouth[1]


def test_nothing_is_found_where_nobody_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    for image in (np.zeros((480, 640, 3), np.uint8), np.full((480, 640, 3), 128, np.uint8), noise):
        for name in ("blazeface_back", "yunet", "yunet_640"):
            assert not make_detector(name).detect(image)


@pytest.mark.parametrize("degrees", [-45, -30, -15, 15, 30, 45])
def test_the_roll_of_a_tilted_face_is_right(degrees: float, astronaut: Image) -> None:
    detector = make_detector("blazeface_back")
    turn = cv2.getRotationMatrix2D(ASTRONAUT.centre, -degrees, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    (upright,), (found, *_) = detector.detect(astronaut), detector.detect(np.asarray(turned, np.uint8))
    assert math.degrees(found.roll - upright.roll) == pytest.approx(degrees, abs=7)


def test_a_portrait_picture_and_a_landscape_one_give_the_same_face(astronaut: Image) -> None:
    detector = make_detector("blazeface_back")
    tall = cv2.copyMakeBorder(astronaut[:, 100:500], 200, 0, 0, 0, cv2.BORDER_CONSTANT)
    (found,) = detector.detect(np.asarray(tall, np.uint8))
    assert found.box.iou(Box(150, 275, 90, 90)) > 0.7


@pytest.mark.numeric
def test_every_frame_of_a_real_video_has_its_one_face(carphone: Path) -> None:
    detector = make_detector("blazeface_back")
    counts = [len(detector.detect(image)) for image in read_all(carphone)[::4]]
    assert counts == [1] * len(counts)


def test_small_faces_and_surplus_ones_are_left_out(astronaut: Image) -> None:
    two = np.hstack([astronaut[:, 100:500], astronaut[:, 100:500]])
    assert len(make_detector("blazeface_back").detect(two)) == 2
    assert len(make_detector("blazeface_back", max_faces=1).detect(two)) == 1
    assert not make_detector("blazeface_back", min_size=120).detect(two)


def test_anchors_lie_in_the_middle_of_their_cells() -> None:
    centres = anchor_centres(128, (AnchorSpec(stride=8, anchors=2), AnchorSpec(stride=16, anchors=6)))
    assert centres.shape == (896, 2)
    assert centres[:3].tolist() == [[4, 4], [4, 4], [12, 4]]
    assert centres[512].tolist() == [8, 8]
    assert centres[-1].tolist() == [120, 120]


def test_decoding_adds_the_anchor_to_all_but_the_size() -> None:
    regressors = np.array([[2, 3, 20, 10, -5, -4, 5, -4]], np.float32)
    points = decode(regressors, np.array([[100, 50]], np.float32))
    assert points[0].tolist() == [[92, 48], [112, 58], [95, 46], [105, 46]]


def test_overlapping_answers_are_blended_by_score() -> None:
    points = np.array([[[0, 0], [10, 10]], [[2, 0], [12, 10]], [[50, 50], [60, 60]]], np.float32)
    blended = weighted_nms(points, np.array([0.6, 0.2, 0.9], np.float32))
    assert [score for _, score in blended] == pytest.approx([0.9, 0.6])
    assert blended[1][0].tolist() == [pytest.approx([0.5, 0]), pytest.approx([10.5, 10])]


def test_boxes_without_area_do_no_harm() -> None:
    points = np.zeros((3, 2, 2), np.float32)
    assert len(weighted_nms(points, np.array([0.9, 0.8, 0.7], np.float32))) == 3


def test_a_box_of_negative_size_is_not_blended_into_another() -> None:
    points = np.array([[[0, 0], [10, 10]], [[100, 100], [150, 95]]], np.float32)
    blended = weighted_nms(points, np.array([0.9, 0.8], np.float32))
    assert len(blended) == 2 and blended[0][0].tolist() == points[0].tolist()


def test_a_model_that_does_not_fit_its_manifest_is_refused() -> None:
    manifest = load_manifest(find_model("blazeface_short"))
    assert isinstance(manifest, DetectorManifest)
    backend = ConstantBackend((128, 128, 3), [np.zeros((100, 16)), np.zeros((100, 1))])
    with pytest.raises(ModelError, match="do not belong together"):
        BlazeFaceDetector(manifest, backend)


def test_the_script_goes_on_with_its_last_entry() -> None:
    detector = ScriptedDetector([[face()], []])
    image = np.zeros((10, 10, 3), np.uint8)
    assert [len(detector.detect(image)) for _ in range(4)] == [1, 0, 0, 0]

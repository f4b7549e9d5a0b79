"""A camera as it hangs: turned, mirrored, cut, masked, with zones; and which way up it is, told from the faces."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.pipelines import Moods, make, settings_with
from support.values import face, frame

from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.errors import ConfigError
from edge_emotion.factory.cameras import pipeline_settings
from edge_emotion.factory.models import make_classifier, make_detector
from edge_emotion.models.classifier import EmotionClassifier
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.pipeline.upright import UprightVote, winning_rotation
from edge_emotion.pipeline.view import View


def numbered(height: int = 4, width: int = 6) -> Image:
    """A picture whose pixels tell their row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)


def pipeline_of(detector: Any, **camera: Any) -> Pipeline:
    settings = settings_with(
        cameras={"desk": {"source": "0", **camera}}, classifier={"interval": 0}, policy={"time_constant": 0},
        detector={"idle_interval": 0},
    )  # fmt: skip
    classifier = EmotionClassifier(make_classifier("mobilenet_v2").manifest, Moods("happiness"))
    return Pipeline(pipeline_settings(settings, "desk"), detector, classifier, next_seq=lambda: 1)


def test_a_picture_is_turned_clockwise_then_mirrored_then_cut() -> None:
    image = numbered()
    assert np.array_equal(View(90).apply(image), np.rot90(image, -1))
    assert np.array_equal(View(180).apply(image), image[::-1, ::-1])
    assert np.array_equal(View(270).apply(image), np.rot90(image))
    assert np.array_equal(View(flip="horizontal").apply(image), image[:, ::-1])
    assert np.array_equal(View(flip="vertical").apply(image), image[::-1])
    assert np.array_equal(View(crop=(0.5, 0, 1, 0.5)).apply(image), image[:2, 3:])
    turned = View(90, "horizontal", (0, 0.5, 1, 1)).apply(image)
    assert np.array_equal(turned, np.rot90(image, -1)[:, ::-1][3:])
    assert View().apply(image) is image


def test_a_crop_leaves_at_least_a_pixel() -> None:
    assert View(crop=(0.99, 0.99, 1, 1)).apply(numbered()).shape == (1, 1, 3)


def test_a_mask_blackens_its_polygons_and_nothing_else() -> None:
    image = np.full((100, 200, 3), 200, np.uint8)
    masked = View(mask=(((0, 0), (0.5, 0), (0.5, 0.5), (0, 0.5)), ((0.9, 0.9), (1, 0.9), (1, 1)))).apply(image)
    assert (masked[:50, :100] == 0).all() and (masked[52:89] == 200).all() and (masked[99, 199] == 0).all()
    assert (image == 200).all()


def test_a_zone_is_the_first_that_holds_the_middle_of_a_box() -> None:
    left, all_of_it = ((0, 0), (0.5, 0), (0.5, 1), (0, 1)), ((0, 0), (1, 0), (1, 1), (0, 1))
    view = View(zones={"left": left, "room": all_of_it})
    assert view.zone(Box(0.1, 0.1, 0.2, 0.2)) == "left"
    assert view.zone(Box(0.7, 0.1, 0.2, 0.2)) == "room"
    assert View(zones={"left": left}).zone(Box(0.7, 0.1, 0.2, 0.2)) is None


def test_an_event_names_its_zone() -> None:
    zones = {"door": [[0, 0], [0.4, 0], [0.4, 1], [0, 1]]}
    pipeline = pipeline_of(make([[face(100, 100)]], Moods("happiness"))._search._detector, zones=zones)
    events = [event for second in range(8) for event in pipeline.process(frame(second / 5))]
    assert [event.zone for event in events] == ["door"]


def test_a_camera_upside_down_gives_the_boxes_of_the_turned_picture(astronaut: Image) -> None:
    pipeline = pipeline_of(make_detector("blazeface_back"), rotate=180)
    upside_down = np.ascontiguousarray(astronaut[::-1, ::-1])
    events = [event for second in range(8) for event in pipeline.process(frame(second / 5, upside_down))]
    assert events[0].box.iou(Box(250 / 640, 75 / 480, 90 / 640, 90 / 480)) > 0.6


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_the_rotation_is_told_from_the_faces_and_the_setting_is_offered(
    angle: int, astronaut: Image, caplog: pytest.LogCaptureFixture
) -> None:
    """Turned by ``angle`` back, the picture is upright again; within six seconds of faces."""
    pipeline = pipeline_of(make_detector("blazeface_back"), rotate="auto")
    hanging = np.ascontiguousarray(np.rot90(astronaut, angle // 90))
    with caplog.at_level(logging.INFO):
        events = [event for n in range(50) for event in pipeline.process(frame(n / 5, hanging))]
    lines = [record.getMessage() for record in caplog.records]
    assert lines == (
        [f"camera desk: faces are upright when its picture is turned by {angle} degrees, so it is; set "
         f"cameras.desk.rotate: {angle}"] if angle else ["camera desk hangs upright"]
    )  # fmt: skip
    assert events[-1].type == "start" and events[-1].box.iou(Box(250 / 640, 75 / 480, 90 / 640, 90 / 480)) > 0.6
    begun, ended = ([one.type for one in events].count(kind) for kind in ("start", "end"))
    assert begun == ended + 1


def test_no_rotation_wins_where_nobody_is_or_where_two_are_level() -> None:
    assert winning_rotation(lambda _: 0.0) is None
    assert winning_rotation(lambda angle: 0.9 if angle in (0, 180) else 0.1) is None
    assert winning_rotation(lambda angle: 0.9 if angle == 270 else 0.8) == 270


class Disagreeing:
    """Finds a face in every fourth picture of those it is given, always in another place of the order."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, image: Image) -> list[Face]:
        self.calls += 1
        return [face()] if self.calls % 5 == 0 else []


def test_nothing_is_decided_while_pictures_disagree() -> None:
    vote = UprightVote("desk", Disagreeing())
    for second in range(40):
        vote.update(numbered(), float(second), View())
    assert vote.decided is None


def test_pictures_are_compared_once_a_second_at_most() -> None:
    detector = Disagreeing()
    vote = UprightVote("desk", detector)
    for n in range(30):
        vote.update(numbered(), n / 15, View())
    assert detector.calls == 8


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"rotate": 45}, "rotate: expected 0, 90, 180, 270 or auto, not 45"),
        ({"rotate": True}, "rotate: expected 0, 90, 180, 270 or auto, not True"),
        ({"flip": "sideways"}, "flip: must be 'none', 'horizontal' or 'vertical'"),
        (
            {"crop": [0.5, 0, 0.5, 1]},
            r"crop: expected left, top, right, bottom .*, not \[0.5, 0.0, 0.5, 1.0\]",
        ),
        ({"crop": [0, 0, 640, 480]}, "crop: expected left, top, right, bottom in fractions of the picture from 0 to 1"),
        (
            {"mask": [[[0, 0], [1, 1.5], [0, 1]]]},
            r"mask.0: the point \[1, 1.5\] lies outside of the picture",
        ),
        ({"zones": {"door": [[0, 0], [1, 1]]}}, "zones.door: a polygon has three points or more, not 2"),
        ({"zones": {"door": [[0, 0], [0.5, 0.5], [1, 1]]}}, "zones.door: the polygon holds no area"),
        ({"zones": {"a door": [[0, 0], [1, 0], [1, 1]]}}, "only letters, digits, - and _ are allowed here"),
        ({"fourcc": "JPEG2"}, "fourcc: expected four characters such as MJPG or YUYV, not 'JPEG2'"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(camera: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        settings_with(cameras={"desk": {"source": "0", **camera}})
    assert "\n" not in str(error.value) and "cameras.desk" in str(error.value)


def test_a_rotation_may_come_as_text_as_it_does_from_the_environment() -> None:
    camera = settings_with(cameras={"desk": {"source": "0", "rotate": "180"}}).cameras["desk"]
    assert camera.rotate == 180


def test_a_view_that_changes_nothing_keeps_the_frame() -> None:
    one = frame(0.0)
    pipeline = pipeline_of(make([[]], Moods("happiness"))._search._detector)
    pipeline.process(one)
    assert pipeline._last is one and replace(View(), rotate=90) == View().turned(90)

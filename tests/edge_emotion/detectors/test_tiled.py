"""Tiles of large pictures: where they lie, in which order they are searched, and what is found in them."""

from __future__ import annotations

import json
import logging
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.pipelines import Moods, settings_with
from support.values import face, frame

from edge_emotion.cli.main import main
from edge_emotion.datatypes import Box, Face, Image
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.detectors.tiled import TiledDetector, tiles
from edge_emotion.errors import ConfigError
from edge_emotion.factory.cameras import make_pipeline, pipeline_settings
from edge_emotion.factory.models import Models, far_detector, make_classifier, make_detector
from edge_emotion.models.classifier import EmotionClassifier

LARGE = np.zeros((1080, 1920, 3), np.uint8)
NOBODY = ScriptedDetector([])


class Remembering:
    """Finds nothing, or one face in the first picture, and keeps the shapes that it was given."""

    def __init__(self, *faces: Face) -> None:
        self.faces, self.shapes = list(faces), []  # type: ignore[var-annotated]

    def detect(self, image: Image) -> list[Face]:
        self.shapes.append(image.shape[:2])
        return [self.faces.pop(0)] if self.faces else []


@pytest.mark.parametrize(
    ("width", "height", "size", "expected"),
    [(1920, 1080, (640, 480), 12), (1920, 1080, (960, 720), 6), (1280, 720, (640, 480), 6), (640, 480, (640, 480), 1)],
)
def test_tiles_cover_the_picture_and_hold_every_small_face_as_a_whole(
    width: int, height: int, size: tuple[int, int], expected: int
) -> None:
    found = tiles(width, height, *size)
    assert len(found) == expected
    assert all(right - left == min(size[0], width) and bottom - top == min(size[1], height)
               for left, top, right, bottom in found)  # fmt: skip
    side = size[1] // 4
    for x in range(0, width - side, 37):
        for y in range(0, height - side, 37):
            assert any(
                left <= x and top <= y and x + side <= right and y + side <= bottom
                for left, top, right, bottom in found
            )


def test_tiles_are_searched_in_turn_after_the_whole() -> None:
    whole, part = Remembering(), Remembering()
    detector = TiledDetector(whole, part, width=960, height=720, per_call=2)
    for _ in range(4):
        detector.detect(LARGE)
    assert whole.shapes == [(1080, 1920)] * 4 and part.shapes == [(720, 960)] * 8
    everything = Remembering()
    TiledDetector(NOBODY, everything, width=960, height=720, per_call=None).detect(LARGE)
    assert len(everything.shapes) == 6


def test_faces_in_tiles_are_given_in_the_picture_and_none_twice() -> None:
    whole = ScriptedDetector([[face(1000, 500, score=0.6)]])
    part = Remembering(face(10, 20, score=0.9), face(0, 500, score=0.9))
    detector = TiledDetector(whole, part, width=960, height=720, per_call=None)
    found = detector.detect(LARGE)
    assert [(one.box.x, one.box.y) for one in found] == [(10, 20), (480, 500), (1000, 500)]
    again = TiledDetector(whole, Remembering(face(990, 500)), width=1500, height=1080, per_call=None)
    assert len(again.detect(LARGE)) == 1


def test_a_picture_no_larger_than_a_tile_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    part = Remembering()
    detector = TiledDetector(NOBODY, part, width=640, height=480, name="camera desk, range hall")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            detector.detect(np.zeros((480, 640, 3), np.uint8))
            detector.detect(np.zeros((240, 320, 3), np.uint8))
    assert [record.getMessage() for record in caplog.records] == [
        "camera desk, range hall: pictures of 640 x 480 are searched as one: set range: near, or a larger width and "
        "height"
    ]
    assert not part.shapes


def models(name: str = "blazeface_back") -> Models:
    classifier = EmotionClassifier(make_classifier("mobilenet_v2").manifest, Moods("happiness"))
    near = None if name == "blazeface_short" else make_detector("blazeface_short", min_size=36)
    return Models(make_detector(name, min_size=40), classifier, near)


THERE = Box(1400 + 150, 700 + 45, 54, 54)
"""The face of ``far_away``, in pixels."""


def far_away(astronaut: Image) -> Image:
    """A 4K picture in which the astronaut is small."""
    picture = np.full((2160, 3840, 3), 90, np.uint8)
    picture[700:988, 1400:1784] = cv2.resize(astronaut, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    return picture


def test_a_face_far_away_in_a_photograph_is_classified_unless_only_near_ones_are_wanted(
    astronaut: Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = tmp_path / "photograph.png"
    cv2.imwrite(str(photograph), far_away(astronaut))
    assert main(["classify", str(photograph), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["faces"]
    assert Box(*found["box"]).iou(THERE) > 0.5 and found["emotion"] == "happiness"
    assert main(["classify", str(photograph), "--json", "--range", "near"]) == 0
    faces = json.loads(capsys.readouterr().out)["faces"]
    assert not [face for face in faces if Box(*face["box"]).iou(THERE) > 0.1]


def test_a_face_far_away_in_a_large_picture_becomes_a_track(astronaut: Image) -> None:
    """A face of 54 px in 4K, which a search in the whole does not see, is confirmed once a tile has shown it."""
    picture = far_away(astronaut)

    def events_of(name: str) -> list[Any]:
        cameras = {"desk": {"source": "0", "range": name}}
        settings = settings_with(cameras=cameras, classifier={"interval": 0}, detector={"idle_interval": 0})
        have = models()
        detector = far_detector(have, settings.detector, settings.cameras["desk"], "desk")
        pipeline = make_pipeline(pipeline_settings(settings, "desk"), have, count(1).__next__, detector=detector)
        return [event for n in range(40) for event in pipeline.process(frame(n / 15, picture))]

    there = Box(THERE.x / 3840, THERE.y / 2160, THERE.width / 3840, THERE.height / 2160)
    assert not [event for event in events_of("near") if event.box.iou(there) > 0.3]
    assert [event.type for event in events_of("room") if event.box.iou(there) > 0.5] == ["start"]


def test_a_range_that_cannot_be_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"cameras\.desk\.range: must be 'near', 'room' or 'hall'"):
        settings_with(cameras={"desk": {"source": "0", "range": "far"}})
    settings = settings_with(cameras={"desk": {"source": "0", "range": "room"}}, detector={"model": "blazeface_short"})
    with pytest.raises(ConfigError, match=r"cameras\.desk\.range room: .* set range: near, or another detector\.model"):
        far_detector(models("blazeface_short"), settings.detector, settings.cameras["desk"], "desk")

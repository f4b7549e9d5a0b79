"""Looking for known faces around their last place: the pure part, the pipeline's use of it, and real faces."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pipelines import settings_with
from support.values import face, frame

from edge_emotion.app import make_daemon
from edge_emotion.cli.demo import CLIP
from edge_emotion.config.loader import load
from edge_emotion.config.settings import DetectorSettings
from edge_emotion.datatypes import Face, Image
from edge_emotion.detectors.scripted import ScriptedDetector
from edge_emotion.factory.cameras import pipeline_settings
from edge_emotion.factory.models import (
    following_detector,
    make_classifier,
    make_detector,
    make_follower,
)
from edge_emotion.pipeline.following import MAX_FOLLOWED, FaceFollower
from edge_emotion.pipeline.pipeline import Pipeline
from edge_emotion.protocols import FaceDetector

EMPTY = np.zeros((480, 640, 3), np.uint8)


class Looking(ScriptedDetector):
    """Remembers the shapes of what it was shown."""

    def __init__(self, script: Sequence[Sequence[Face]]) -> None:
        super().__init__(script)
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, image: Image) -> Sequence[Face]:
        self.shapes.append(image.shape)
        return super().detect(image)


def read_clip() -> list[Image]:
    from benchmarks.pipeline_speed.scenes import read_video

    return list(read_video(CLIP))


@pytest.mark.parametrize(
    ("size", "height", "width"),
    [(20, 128, 128), (80, 128, 128), (90, 256, 256), (160, 256, 256), (170, 480, 512), (400, 480, 640)],
)
def test_a_square_of_the_detectors_size_times_a_power_of_two_is_searched(size: float, height: int, width: int) -> None:
    near = Looking([[]])
    FaceFollower(near, 128).follow(EMPTY, [face(x=200, y=100, size=size)])
    assert near.shapes == [(height, width, 3)]


@pytest.mark.parametrize(("x", "y", "left", "top"), [(0, 0, 0, 0), (590, 440, 512, 352), (300, 200, 256, 156)])
def test_what_is_found_in_the_square_is_told_in_the_picture(x: float, y: float, left: int, top: int) -> None:
    known = face(x=x, y=y, size=40)
    there = Face(known.box.moved(3 - left, 4 - top), 0.8, ((x - left, y - top),))
    followed = FaceFollower(ScriptedDetector([[there]]), 128).follow(EMPTY, [known])
    assert followed is not None
    assert followed[0].box == known.box.moved(3, 4) and followed[0].landmarks == ((x, y),)


def test_of_two_faces_in_the_square_the_nearer_one_is_taken_and_a_stranger_is_nobody() -> None:
    known, aside = face(x=36, y=36, size=56), face(x=0, y=0, size=40, score=0.99)
    assert FaceFollower(ScriptedDetector([[aside, known]]), 128).follow(EMPTY, [known]) == [known]
    for stranger in (face(x=100, y=100, size=20), face(x=76, y=36, size=56)):
        assert FaceFollower(ScriptedDetector([[stranger]]), 128).follow(EMPTY, [known]) is None


def test_all_or_none() -> None:
    left, right = face(x=36, y=36, size=50), face(x=400, y=36, size=50)
    inside = Face(right.box.moved(-361, 0), 0.9)
    assert FaceFollower(ScriptedDetector([[left], [inside]]), 128).follow(EMPTY, [left, right]) is not None
    assert FaceFollower(ScriptedDetector([[left], []]), 128).follow(EMPTY, [left, right]) is None
    many = [face(x=100 * n) for n in range(MAX_FOLLOWED + 1)]
    near = Looking([[]])
    assert FaceFollower(near, 128).follow(EMPTY, many) is None and not near.shapes


def test_two_that_have_become_one_are_not_followed() -> None:
    one, other = face(x=36, y=36, size=50), face(x=46, y=36, size=50)
    assert FaceFollower(ScriptedDetector([[one]]), 128).follow(EMPTY, [one, other]) is None


def following(whole: FaceDetector, around: FaceDetector, refresh: float) -> Pipeline:
    settings = settings_with(classifier={"interval": 9}, detector={"refresh_interval": refresh})
    follower = FaceFollower(around, 128)
    return Pipeline(pipeline_settings(settings, "desk"), whole, make_classifier("tiny"), follower, next_seq=lambda: 1)


def watch(script: Sequence[Sequence[Face]], near: Sequence[Sequence[Face]], frames: int, refresh: float) -> str:
    """For each frame: w for a look at the whole picture, n near the face, b for both."""
    whole, around = Looking(script), Looking(near)
    pipeline = following(whole, around, refresh)
    said = ""
    for n in range(frames):
        before = len(whole.shapes), len(around.shapes)
        pipeline.process(frame(n / 10))
        looked, followed = len(whole.shapes) > before[0], len(around.shapes) > before[1]
        said += {(True, False): "w", (False, True): "n", (True, True): "b"}[looked, followed]
    return said


HERE = face(x=36, y=36, size=50)


def test_everything_is_looked_at_until_a_face_counts_and_again_after_the_interval() -> None:
    assert watch([[HERE]], [[HERE]], 16, refresh=0.45) == "wwwnnnnwnnnnwnnn"
    assert watch([[HERE]], [[HERE]], 6, refresh=0) == "wwwwww"


def test_a_face_that_is_lost_is_looked_for_everywhere_at_once_and_not_followed_for_a_while() -> None:
    assert watch([[HERE]], [[HERE], [HERE], [], [HERE]], 13, refresh=0.45) == "wwwnnbwwwwnnn"


def test_time_that_jumps_leads_to_a_look_at_everything() -> None:
    whole, around = Looking([[HERE]]), Looking([[HERE]])
    pipeline = following(whole, around, refresh=0.45)
    for seconds, looks in ((0, 1), (0.1, 2), (0.2, 3), (0.3, 3), (9.0, 4), (8.0, 5), (8.1, 5)):
        pipeline.process(frame(seconds))
        assert len(whole.shapes) == looks, seconds


def test_while_somebody_is_missing_or_new_everything_is_looked_at() -> None:
    new = [HERE, face(x=300, size=50)]
    gone = [[HERE]] * 3 + [new] * 4 + [[HERE]]
    # Three frames until the new one counts; both are followed; 0.8 s until the one that is missing has left.
    assert watch(gone, [[HERE]], 28, refresh=0.45) == "wwwnnnn" + "www" + "nnnnwnnnnw" + "wwwwwwww"


@pytest.mark.parametrize(
    ("detector", "follows"),
    [({}, True), ({"refresh_interval": 0}, False), ({"model": "blazeface_short"}, False)],
    ids=["default", "off", "itself"],
)
def test_the_daemon_follows_unless_told_otherwise(
    detector: dict[str, Any], follows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    follow = FaceFollower.follow

    def counted(self: FaceFollower, image: Image, known: Sequence[Face]) -> Sequence[Face] | None:
        looks.append(follow(self, image, known))
        return looks[-1]

    monkeypatch.setattr(FaceFollower, "follow", counted)
    settings = load(
        None,
        {
            "cameras": {"hall": {"source": str(CLIP), "realtime": False}},
            "detector": detector,
            "classifier": {"model": "tiny"},
            "jsonl": {"path": str(tmp_path / "events")},
        },
    )
    make_daemon(settings).run()
    kinds = [json.loads(line)["type"] for line in (tmp_path / "events").read_text().splitlines()]
    assert (kinds[0], kinds[-1], kinds.count("start")) == ("start", "end", 1)
    assert (sum(one is not None for one in looks) > 20) is follows and bool(looks) is follows


def test_who_follows_is_limited_by_nothing_but_what_the_other_finds(astronaut: Image) -> None:
    """A face at the edge of the least size, and a neighbour with a better score, must not hide the known one."""
    assert following_detector(DetectorSettings(model="blazeface_short")) is None
    (there,) = make_detector("blazeface_back").detect(astronaut)
    size = math.floor(max(there.box.width, there.box.height))
    near = following_detector(DetectorSettings(min_size=size, max_faces=1))
    assert near is not None and make_follower(near).follow(astronaut, [there]) is not None


def test_a_real_face_is_followed_where_the_large_detector_finds_it() -> None:
    """The whole clip: every frame with a face, each from where it was in the frame before."""
    whole, follower = make_detector("blazeface_back"), make_follower(make_detector("blazeface_short"))
    known: Face | None = None
    overlaps, tries = [], 0
    for image in read_clip():
        truth = whole.detect(image)
        if known is not None and len(truth) == 1:
            now = follower.follow(image, [known])
            tries += 1
            if now is not None:
                overlaps.append(now[0].box.iou(truth[0].box))
                assert abs(now[0].roll - truth[0].roll) < 0.2
        known = truth[0] if len(truth) == 1 else None
    assert tries == 94 and len(overlaps) >= 92
    assert np.median(overlaps) > 0.85 and min(overlaps) > 0.7


def test_nobody_is_followed_where_nobody_is(astronaut: Image) -> None:
    follower = make_follower(make_detector("blazeface_short"))
    (there,) = make_detector("blazeface_back").detect(astronaut)
    assert follower.follow(astronaut, [there]) is not None
    assert follower.follow(EMPTY, [there]) is None
    assert follower.follow(astronaut, [face(x=20, y=380, size=90)]) is None

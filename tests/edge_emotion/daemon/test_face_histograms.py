"""Histograms of the faces of an hour: what is counted when, their wire form, and what is refused."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timezone
from typing import Any

import pytest
from support.daemons import SHORT_PAUSES, Script, frames
from support.pipelines import Moods, make
from support.values import face

from edge_emotion.daemon.camera import Camera
from edge_emotion.daemon.capture import Capture
from edge_emotion.daemon.daemon import Daemon
from edge_emotion.daemon.face_histograms import FaceHistograms
from edge_emotion.datatypes import Box, EmotionScores, Face, Track
from edge_emotion.outbox.event_counter import EventCounter
from edge_emotion.pipeline.pipeline import FaceNow
from edge_emotion.pipeline.policy import StableEmotion
from edge_emotion.sinks.memory import MemorySink
from edge_emotion.wire.hours import EDGES, bin_names, hour_from_object, hour_to_object, hours_from_stats
from edge_emotion.wire.payloads import to_json

START = datetime(2026, 11, 20, 4, tzinfo=timezone.utc)


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        return self.now


def seen(emotion: str = "happiness", confidence: float = 0.75, score: float = 0.9, size: float = 100.0) -> FaceNow:
    scores = EmotionScores((emotion, "fear"), (confidence, 1 - confidence))
    track = Track("t", Face(Box(0, 0, size / 2, size), score), 0.0, 0.0, START)
    return FaceNow(track, StableEmotion(emotion, scores, emotion, 0.0), 0.5)


def counted(hours: FaceHistograms, clock: Clock) -> dict[str, Any]:
    clock.now += 3600
    hour = hours.last()
    assert hour is not None
    return hour_to_object(hour)


def test_an_hour_is_reported_when_it_is_over_and_for_an_hour() -> None:
    clock = Clock()
    hours = FaceHistograms(clock)
    hours.add([seen(), seen("neutral", 0.5, 0.98, 384.0)])
    clock.now += 3599
    hours.add([seen(confidence=1.0, score=0.2, size=23.9)])
    assert hours.last() is None
    clock.now += 1
    hour = hours.last()
    assert hour is not None and (hour.start, hour.faces) == (START, 3)
    assert hour.histograms == {
        "confidence": (0, 0, 0, 0, 0, 1, 0, 1, 0, 1),
        "quality": (0, 0, 0, 0, 0, 3, 0, 0, 0, 0),
        "size": (1, 0, 0, 0, 0, 1, 0, 0, 0, 1),
        "score": (1, 0, 0, 0, 0, 0, 0, 1, 0, 1),
    }
    assert hour.emotions == {"happiness": 2, "neutral": 1}
    clock.now += 3599
    assert hours.last() == hour
    clock.now += 1
    assert hours.last() is None, "no face was seen in this hour"


def test_an_hour_in_which_the_clock_was_set_is_dropped() -> None:
    for jump in (7200, -3600):
        clock = Clock()
        hours = FaceHistograms(clock)
        hours.add([seen()])
        clock.now += jump
        hours.add([seen(), seen()])
        assert hours.last() is None
        assert counted(hours, clock)["faces"] == 2


def test_the_faces_of_a_camera_are_counted_as_often_as_they_are_classified() -> None:
    clock, changed = Clock(), threading.Condition()
    reader = Capture("desk", Script(frames(0, 12), live=True), changed, max_fps=100, lossless=True, timing=SHORT_PAUSES)
    classifier = Moods("happiness")
    camera = Camera(reader, make([[face()]], classifier), histograms=FaceHistograms(clock))
    Daemon([camera], [MemorySink()], changed, EventCounter(None)).run()
    assert "hour" not in camera.report(1.0)
    hour = counted(camera.histograms, clock)
    assert 0 < hour["faces"] <= 12 and hour["emotions"] == {"happiness": hour["faces"]}
    assert camera.report(1.0)["hour"] == hour
    assert hours_from_stats(to_json({"cameras": {"desk": camera.report(1.0)}})) == {"desk": camera.histograms.last()}


def test_the_busiest_hour_is_below_a_kilobyte() -> None:
    clock = Clock()
    hours = FaceHistograms(clock)
    hours.add([seen(name) for name in ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "unknown")])
    hour = counted(hours, clock)
    for name in EDGES:
        hour[name] = [9_999_999] * 10  # ten faces in 30 frames a second are 1,080,000
    hour["emotions"] = dict.fromkeys((*hour["emotions"], "fear", "contempt"), 9_999_999)
    assert len(to_json({"hour": hour})) < 1000


def test_what_is_no_hour_is_refused_with_its_fault() -> None:
    clock = Clock()
    hours = FaceHistograms(clock)
    hours.add([seen(), seen()])
    good = counted(hours, clock)
    assert hour_to_object(hour_from_object(json.loads(to_json(good)))) == good
    bins = good["size"]
    wrong = {
        "no hour": [{"size": None}, {"size": [*bins[:-1], "1"]}, {"size": [*bins[:-1], True]}, {"emotions": []},
                    {"size": [3, *bins[1:-1], -1]}, {"faces": 2**60}, {"emotions": {"a\0": 2}}, {"start": 5}],
        "bins": [{"size": bins[:-1]}, {"size": [*bins, 0]}],
        "sums to": [{"faces": 3}, {"emotions": {"fear": 1}}, {"quality": [0] * 10}],
        "beginning of an hour": [{"start": "2026-11-20T04:31:00.000Z"}],
        "does not match": [{"start": "yesterday"}],
        "more than 64": [{"emotions": {str(n): 0 for n in range(65)}}],
    }  # fmt: skip
    for text, cases in wrong.items():
        for case in cases:
            with pytest.raises(ValueError, match=text):
                hour_from_object(good | case)
    for missing in good:
        with pytest.raises(ValueError, match=missing):
            hour_from_object({name: value for name, value in good.items() if name != missing})
    for payload in (b"[]", b"{}", b'{"cameras": {"a": 1}}', b'{"cameras": {"../x": {}}}', b"x", b" " * 70_000):
        with pytest.raises(ValueError, match=r"."):
            hours_from_stats(payload)
    assert hours_from_stats(b'{"cameras": {"desk": {"status": "online"}}}') == {}, "of a node before this version"


def test_the_bins_of_the_contract_page_are_those_of_the_code() -> None:
    from support.paths import ROOT

    page = (ROOT / "docs" / "reference" / "mqtt.md").read_text(encoding="utf-8")
    for name, edges in EDGES.items():
        (row,) = [line for line in page.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]
                  and "rest" in line]  # fmt: skip
        assert ", ".join(f"{edge:g}" for edge in edges) in row
        assert len(bin_names(name)) == len(edges) + 1

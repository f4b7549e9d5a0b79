"""The straight line, with the shipped fakes: no sleeping, no hardware."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.pipelines import Moods, make
from support.values import EPOCH, face, frame

from edge_emotion.datatypes import Box, EmotionEvent, Face
from edge_emotion.pipeline.pipeline import Pipeline


def run(pipeline: Pipeline, frames: int, *, start: int = 0) -> list[EmotionEvent]:
    return [event for n in range(start, start + frames) for event in pipeline.process(frame(n / 10))]


def told(events: Sequence[EmotionEvent]) -> list[tuple[str, str, str]]:
    return [(event.track_id, event.type, event.emotion) for event in events]


def test_a_visit_is_a_start_a_change_and_an_end() -> None:
    backend = Moods("happiness")
    pipeline = make([[face()]] * 20 + [[]], backend)
    events = run(pipeline, 10)
    backend.show("sadness")
    events += run(pipeline, 30, start=10)
    assert told(events) == [("id1", "start", "happiness"), ("id1", "change", "sadness"), ("id1", "end", "sadness")]
    assert [event.seq for event in events] == [1, 2, 3]
    assert events[1].previous == "happiness"
    assert (events[0].previous, events[2].previous) == (None, None)


def test_an_event_says_when_where_and_by_what() -> None:
    pipeline = make([[Face(Box(160, 120, 64, 48), 0.8)]], Moods("fear"))
    (event,) = run(pipeline, 3)
    assert event.ts == frame(0.2).captured_at
    assert (event.node, event.camera, event.model_name) == ("pi5", "desk", "mobilenet_v2")
    assert event.box == Box(0.25, 0.25, 0.1, 0.1)
    assert event.track_started == EPOCH
    assert event.track_duration == pytest.approx(0.2)
    assert event.quality == pytest.approx(0.8)
    assert event.confidence == pytest.approx(event.probabilities["fear"])
    assert sum(event.probabilities.values()) == pytest.approx(1)
    assert not event.replayed


def test_a_face_in_the_dark_is_unknown_and_the_event_says_why() -> None:
    pipeline = make([[face()]] * 5 + [[]], Moods("fear"), quality={"dark": 1.0})
    start, end = run(pipeline, 20)
    assert [(each.emotion, each.reason) for each in (start, end)] == [("unknown", "dark")] * 2
    assert start.confidence == pytest.approx(start.probabilities["fear"])
    (named,) = run(make([[face()]], Moods("fear"), quality={"dark": 0.8}), 5)
    assert (named.emotion, named.reason) == ("fear", None)


def test_a_box_over_the_edge_is_clipped_to_the_frame() -> None:
    (event,) = run(make([[face(x=-40, y=440)]], Moods("fear")), 3)
    assert event.box == Box(0, 440 / 480, 40 / 640, 40 / 480)


def test_several_faces_are_classified_as_one_batch() -> None:
    backend = Moods("anger")
    events = run(make([[face(), face(x=300), face(x=500)]], backend), 3)
    assert backend.batch_sizes == [3]
    assert told(events) == [(f"id{n}", "start", "anger") for n in (1, 2, 3)]


def test_faces_are_classified_again_only_when_due() -> None:
    backend = Moods("anger")
    run(make([[face()]], backend, interval=0.5), 14)
    assert len(backend.batch_sizes) == 3


def test_a_face_that_does_not_count_yet_is_not_classified() -> None:
    backend = Moods("anger")
    assert run(make([[face()]], backend), 2) == []
    assert backend.batch_sizes == []


def test_finishing_ends_every_track_once() -> None:
    pipeline = make([[face(), face(x=400)]], Moods("neutral"))
    run(pipeline, 5)
    assert [event.type for event in pipeline.finish()] == ["end", "end"]
    assert pipeline.finish() == []
    state = pipeline.state()
    assert state is not None
    assert state.faces == 0


def test_after_an_end_the_same_face_is_a_new_track() -> None:
    pipeline = make([[face()]], Moods("neutral"))
    (before,) = run(pipeline, 5)
    pipeline.finish()
    (after,) = run(pipeline, 5, start=5)
    assert (after.type, after.emotion) == ("start", "neutral") and after.track_id != before.track_id


def test_the_state_follows_the_largest_face() -> None:
    backend = Moods("sadness", "happiness")
    pipeline = make([[face(size=60), face(x=300, size=120)]], backend)
    assert pipeline.state() is None
    pipeline.process(frame(0))
    nobody = pipeline.state()
    assert nobody is not None
    assert (nobody.faces, nobody.emotion, nobody.confidence, nobody.counts) == (0, None, None, {})
    run(pipeline, 5, start=1)
    state = pipeline.state()
    assert state is not None
    assert (state.faces, state.emotion, state.counts) == (2, "happiness", {"sadness": 1, "happiness": 1})
    assert state.ts == frame(0.5).captured_at


def test_the_times_of_the_stages_are_kept() -> None:
    pipeline = make([[face()]], Moods("neutral"))
    run(pipeline, 3)
    times = pipeline.times
    assert times is not None
    assert min(times.detect, times.track, times.decide) >= 0
    assert min(times.align, times.classify) > 0


def test_nobody_is_looked_for_less_often_than_somebody_is_looked_at() -> None:
    """At 10 frames a second: every second frame while nobody is there, every one from the first sight on."""
    pipeline = make([[]] * 4 + [[face()]], Moods("neutral"), idle_interval=0.2)
    looked = []
    for n in range(12):
        pipeline.process(frame(n / 10))
        looked += [n] * (pipeline.times is not None)
    assert looked == [0, 2, 4, 6, 8, 9, 10, 11]
    state = pipeline.state()
    assert state is not None
    assert (state.faces, state.ts) == (1, frame(1.1).captured_at)


def test_a_short_grimace_is_smoothed_away() -> None:
    backend = Moods("neutral")
    pipeline = make([[face()]], backend, time_constant=2.0)
    run(pipeline, 20)
    backend.show("anger")
    assert run(pipeline, 10, start=20) == []
    state = pipeline.state()
    assert state is not None
    assert 0.3 < state.probabilities["anger"] < 0.5


def test_faces_a_little_early_are_still_classified_in_every_frame() -> None:
    backend = Moods("neutral")
    pipeline = make([[face()]], backend, interval=0.1)
    for n in range(20):
        pipeline.process(frame(n / 10 - 0.01 * (n % 2)))
    assert len(backend.batch_sizes) == 18


def test_nothing_is_remembered_of_those_who_left() -> None:
    pipeline = make([[face()], [face()], [face()], []] * 30, Moods("neutral"))
    for n in range(120):
        pipeline.process(frame(float(n)))
    pipeline.finish()
    assert not pipeline._classified
    assert not pipeline._smoother._last
    assert not pipeline._policy._settled
    assert not pipeline._tracker._tracks

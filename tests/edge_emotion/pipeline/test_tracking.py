from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest
from support.values import EPOCH, face

from edge_emotion.datatypes import Face
from edge_emotion.pipeline.motion import Motion
from edge_emotion.pipeline.tracking import Sighting, Tracker


@pytest.fixture
def tracker() -> Tracker:
    numbers = count(1)
    return Tracker(iou=0.2, confirm_hits=3, max_gap=0.8, make_id=lambda moment: f"t{next(numbers)}")


def feed(tracker: Tracker, faces: list[Face], seconds: float) -> Sighting:
    return tracker.update(faces, seconds, EPOCH + timedelta(seconds=seconds))


def ids(sighting: Sighting) -> list[str]:
    return [track.id for track in sighting.present]


def test_a_face_counts_after_enough_sightings(tracker: Tracker) -> None:
    confirmed = [feed(tracker, [face()], n / 10).present[0].confirmed for n in range(4)]
    assert confirmed == [False, False, True, True]


def test_a_false_alarm_that_vanishes_never_counts(tracker: Tracker) -> None:
    for n in range(10):
        sighting = feed(tracker, [face()] if n % 2 else [], n / 10)
        assert not any(track.confirmed for track in sighting.present)
        assert not sighting.ended


def test_faces_are_steady_while_all_of_them_count_and_are_seen(tracker: Tracker) -> None:
    assert tracker.steady == ()
    left, right, later = face(x=100), face(x=300), face(x=500)
    for n in range(3):
        assert tracker.steady == (), "they do not count yet"
        feed(tracker, [left, right], n / 10)
    assert tracker.steady == (left, right)
    feed(tracker, [left, right, later], 0.3)
    assert tracker.steady == (), "the third may be a false alarm"
    feed(tracker, [left, right], 0.4)
    assert tracker.steady == (left, right)
    feed(tracker, [left], 0.5)
    assert tracker.steady == (), "one is missed and may come back anywhere"
    feed(tracker, [left], 1.5)
    assert tracker.steady == (left,)


def test_two_faces_keep_their_ids_whatever_the_order(tracker: Tracker) -> None:
    left, right = face(x=100), face(x=300)
    first = ids(feed(tracker, [left, right], 0.0))
    assert ids(feed(tracker, [right, left], 0.1)) == first[::-1]


def test_a_moving_face_keeps_its_id(tracker: Tracker) -> None:
    seen = {ids(feed(tracker, [face(x=100 + 30 * n)], n / 10))[0] for n in range(10)}
    assert len(seen) == 1


def test_a_fast_face_without_overlap_keeps_its_id_if_it_is_near(tracker: Tracker) -> None:
    assert ids(feed(tracker, [face(x=100)], 0.0)) == ids(feed(tracker, [face(x=145, y=100)], 0.1))


def test_a_face_elsewhere_is_another_face(tracker: Tracker) -> None:
    assert ids(feed(tracker, [face(x=50)], 0.0)) != ids(feed(tracker, [face(x=400)], 0.1))


def test_the_better_overlap_wins_when_two_faces_touch(tracker: Tracker) -> None:
    first = ids(feed(tracker, [face(x=100), face(x=150)], 0.0))
    assert ids(feed(tracker, [face(x=148), face(x=104)], 0.1)) == first[::-1]


def test_two_faces_where_one_was_are_not_the_same_one(tracker: Tracker) -> None:
    first = ids(feed(tracker, [face(x=100)], 0.0))
    both = ids(feed(tracker, [face(x=104), face(x=110)], 0.1))
    assert both[0] == first[0]
    assert both[1] != first[0]


def test_overlap_counts_more_than_nearness(tracker: Tracker) -> None:
    first = ids(feed(tracker, [face(x=100, size=80), face(x=100, y=185, size=80)], 0.0))
    again = ids(feed(tracker, [face(x=100, y=140, size=80)], 0.1))
    assert again == [first[0]] or again == [first[1]]


def test_a_near_face_of_another_size_is_another_face(tracker: Tracker) -> None:
    assert ids(feed(tracker, [face(x=100, size=200)], 0.0)) != ids(feed(tracker, [face(x=170, y=170, size=60)], 0.1))


def test_two_who_pass_each_other_keep_their_ids_though_one_hides_the_other(tracker: Tracker) -> None:
    both = []
    for n in range(61):
        left, right = face(x=100 + 5 * n, size=100), face(x=400 - 5 * n, size=100)
        hidden = left.box.iou(right.box) > 0.3
        both.append((hidden, ids(feed(tracker, [left] if hidden else [left, right], n / 15))))
    assert sum(hidden for hidden, _ in both) > 0.5 * 15
    assert both[0][1] == both[-1][1] and {one for _, (one, *_) in both} == {"t1"}


def test_a_face_that_stays_hidden_ends_after_a_while(tracker: Tracker) -> None:
    for n in range(5):
        feed(tracker, [face(x=300), face(x=400 - 20 * n)], n / 10)
    ended = [(n / 10, gone.id) for n in range(5, 80) for gone in feed(tracker, [face(x=300)], n / 10).ended]
    assert [name for _, name in ended] == ["t2"]
    assert 0.8 < ended[0][0] - 0.4 <= 4.1


def test_the_velocity_of_a_face_is_learned_in_a_fraction_of_a_second() -> None:
    motion = Motion(face(x=100).box, 0.0)
    for n in range(1, 16):
        motion = motion.seen_at(face(x=100 + 10 * n).box, n / 10)
    assert motion.velocity == pytest.approx((100, 0), abs=3)
    assert motion.expected(1.6).x == pytest.approx(260, abs=3)
    assert motion.hidden_at(face(x=0).box, 1.6).velocity == motion.velocity


def test_a_short_miss_is_survived_and_a_long_one_is_the_end(tracker: Tracker) -> None:
    for n in range(3):
        track = feed(tracker, [face()], n / 10).present[0]
    assert not feed(tracker, [], 0.5).ended
    assert ids(feed(tracker, [face()], 0.9)) == [track.id]
    assert not feed(tracker, [], 1.6).ended
    assert [gone.id for gone in feed(tracker, [], 1.8).ended] == [track.id]
    assert ids(feed(tracker, [face()], 1.9)) != [track.id]


def test_at_one_frame_a_second_a_face_is_still_one_track(tracker: Tracker) -> None:
    seen = {ids(feed(tracker, [face()], float(n)))[0] for n in range(5)}
    assert len(seen) == 1
    assert [gone.id for gone in feed(tracker, [], 5.0).ended] == list(seen)


def test_after_a_long_pause_a_face_is_another_one(tracker: Tracker) -> None:
    for n in range(3):
        first = feed(tracker, [face()], n / 10).present[0]
    later = feed(tracker, [face()], 60.0)
    assert [gone.id for gone in later.ended] == [first.id]
    assert ids(later) != [first.id]


def test_when_one_of_two_leaves_the_other_keeps_its_id(tracker: Tracker) -> None:
    left, right = face(x=100), face(x=300)
    for n in range(3):
        first = ids(feed(tracker, [left, right], n / 10))
    assert ids(feed(tracker, [right], 0.4)) == [first[1]]


def test_a_track_knows_when_it_was_seen(tracker: Tracker) -> None:
    for n in range(5):
        track = feed(tracker, [face()], n / 10).present[0]
    assert (track.first_seen, track.last_seen, track.hits) == (0.0, 0.4, 5)
    assert track.duration == pytest.approx(0.4)
    assert track.started_at == EPOCH


def test_finishing_ends_the_confirmed_tracks_once(tracker: Tracker) -> None:
    for n in range(3):
        feed(tracker, [face()] if n < 2 else [face(), face(x=400)], n / 10)
    assert [track.id for track in tracker.finish()] == ["t1"]
    assert tracker.finish() == ()

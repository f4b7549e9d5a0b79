from __future__ import annotations

import math

import pytest
from support.values import scores

from edge_emotion.pipeline.smoothing import Smoother

SURE, SAD = scores(happiness=1.0), scores(sadness=1.0)


def test_the_first_sample_is_taken_as_it_is() -> None:
    assert Smoother(0.5).update("a", SURE, 0.0) == SURE


def test_after_one_time_constant_63_percent_of_a_step_has_come_through() -> None:
    smoother = Smoother(0.5)
    smoother.update("a", SURE, 0.0)
    assert smoother.update("a", SAD, 0.5).as_dict()["sadness"] == pytest.approx(1 - math.exp(-1))


def test_the_result_does_not_depend_on_the_frame_rate() -> None:
    slow, fast = Smoother(0.5), Smoother(0.5)
    slow.update("a", SURE, 0.0)
    fast.update("a", SURE, 0.0)
    for n in range(1, 11):
        last = fast.update("a", SAD, n / 10)
    assert slow.update("a", SAD, 1.0).probabilities == pytest.approx(last.probabilities)


def test_it_stays_a_distribution() -> None:
    smoother = Smoother(0.5)
    for n in range(10):
        smoothed = smoother.update("a", SAD if n % 3 else SURE, n / 7)
        assert sum(smoothed.probabilities) == pytest.approx(1.0)


def test_tracks_do_not_touch_each_other() -> None:
    smoother = Smoother(0.5)
    smoother.update("a", SURE, 0.0)
    assert smoother.update("b", SAD, 0.1) == SAD


def test_a_forgotten_track_starts_anew() -> None:
    smoother = Smoother(0.5)
    smoother.update("a", SURE, 0.0)
    smoother.forget("a")
    assert smoother.update("a", SAD, 0.1) == SAD


def test_zero_switches_it_off_and_time_that_stands_still_changes_nothing() -> None:
    off, on = Smoother(0.0), Smoother(0.5)
    for smoother in (off, on):
        smoother.update("a", SURE, 1.0)
    assert off.update("a", SAD, 1.0) == SAD
    assert on.update("a", SAD, 1.0) == SURE

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from support.samples import CAPTURED, event

from edge_emotion.client.gaps import HOLES, MEMORY, GapDetector, Totals, summed


def arrivals(detector: GapDetector, *numbers: int) -> list[str]:
    return [detector.update(event(number)).arrival for number in numbers]


def test_numbers_in_a_row_are_neither_missed_nor_late() -> None:
    detector = GapDetector()
    assert arrivals(detector, 7, 8, 9) == ["first", "next", "next"]
    assert detector.totals == {"pi5": Totals(events=3)}


def test_left_out_numbers_are_counted_as_missed() -> None:
    detector = GapDetector()
    detector.update(event(7))
    verdict = detector.update(event(11))
    assert (verdict.arrival, verdict.missed) == ("gap", 3)
    assert detector.totals["pi5"] == Totals(events=2, gaps=1, missed=3)


def test_a_late_event_fills_its_gap_and_a_second_one_is_a_duplicate() -> None:
    detector = GapDetector()
    assert arrivals(detector, 1, 5, 3, 3, 2, 4) == ["first", "gap", "late", "duplicate", "late", "late"]
    assert detector.totals["pi5"] == Totals(events=5, gaps=1, missed=0, late=3, duplicates=1)


def test_an_event_from_before_the_first_is_late_and_nothing_was_missed() -> None:
    detector = GapDetector()
    assert arrivals(detector, 7, 5, 8) == ["first", "late", "next"]
    assert detector.totals["pi5"].missed == 0


def test_replayed_events_are_counted_once() -> None:
    detector = GapDetector()
    for _ in range(2):
        detector.update(event(1, replayed=True))
    assert detector.totals["pi5"] == Totals(events=1, replayed=1, duplicates=1)


def test_each_node_counts_for_itself() -> None:
    detector = GapDetector()
    for number in (1, 2):
        for node in ("pi5", "jetson"):
            detector.update(event(number, node=node))
    detector.update(event(4, node="jetson"))
    assert detector.totals["pi5"].missed == 0 and detector.totals["jetson"].missed == 1
    assert summed(detector.totals.values()) == Totals(events=5, gaps=1, missed=1)


def test_a_node_that_lost_its_counter_is_recognised_by_the_capture_time() -> None:
    detector = GapDetector()
    arrivals(detector, 4711)
    later = CAPTURED + timedelta(minutes=1)
    assert detector.update(event(3, ts=later)).arrival == "restart"
    assert detector.update(event(4, ts=later)).arrival == "next"
    assert detector.totals["pi5"] == Totals(events=3, restarts=1)


def test_a_counter_that_begins_at_one_is_recognised_although_the_clock_went_back() -> None:
    detector = GapDetector()
    arrivals(detector, 4711)
    assert detector.update(event(1, ts=CAPTURED - timedelta(days=300))).arrival == "restart"


def test_a_number_that_comes_with_another_id_is_a_new_count() -> None:
    detector = GapDetector()
    arrivals(detector, 1, 2, 3)
    assert detector.update(replace(event(2), id="another")).arrival == "restart"
    assert arrivals(detector, 3) == ["next"]


def test_a_replay_of_the_first_event_is_late_and_no_new_count() -> None:
    detector = GapDetector()
    arrivals(detector, 2, 3)
    assert detector.update(event(1, replayed=True)).arrival == "late"


def test_an_earlier_count_goes_on_from_its_positions() -> None:
    before = GapDetector()
    arrivals(before, 1, 2)
    after = GapDetector(before.positions)
    assert after.update(event(5)).missed == 2
    assert after.positions == {"pi5": 5}


@pytest.mark.parametrize("number", [10**30, -(10**30), 0])
def test_absurd_numbers_do_no_harm(number: int) -> None:
    detector = GapDetector()
    arrivals(detector, 5, number, 6, number + 2, number + 1)
    assert detector.totals["pi5"].events >= 4


def test_what_is_remembered_is_bounded() -> None:
    detector = GapDetector()
    arrivals(detector, *range(0, 3 * max(MEMORY, HOLES), 2))
    node = detector._nodes["pi5"]
    assert len(node.ids) == MEMORY and len(node.holes) == HOLES
    assert detector.totals["pi5"].missed == detector.totals["pi5"].gaps > HOLES

from __future__ import annotations

import pytest
from samples import event

from edge_emotion.sinks.outbox import Outbox


def filled(count: int, limit: int = 100) -> Outbox:
    outbox = Outbox(limit)
    for seq in range(count):
        outbox.append(event(seq))
    return outbox


def taken(outbox: Outbox, count: int) -> list[tuple[int, bool]]:
    """Number and replayed flag of the next ``count`` events, or of all that are left."""
    result = []
    for _ in range(count):
        waiting = outbox.take()
        if waiting is None:
            break
        result.append((waiting.event.seq, waiting.event.replayed))
    return result


def test_events_are_given_out_in_order_and_only_once() -> None:
    outbox = filled(3)
    assert taken(outbox, 9) == [(0, False), (1, False), (2, False)]
    assert outbox.take() is None


def test_an_event_leaves_when_it_is_acknowledged_not_when_it_is_taken() -> None:
    outbox = filled(2)
    first = outbox.take()
    assert first is not None and len(outbox) == 2
    assert outbox.acknowledge(first.number)
    assert len(outbox) == 1


def test_acknowledging_twice_is_harmless() -> None:
    outbox = filled(1)
    first = outbox.take()
    assert first is not None
    assert outbox.acknowledge(first.number)
    assert not outbox.acknowledge(first.number)
    assert len(outbox) == 0


def test_what_was_not_acknowledged_comes_again_first_and_as_replayed() -> None:
    outbox = filled(5)
    numbers = [waiting.number for waiting in (outbox.take(), outbox.take(), outbox.take()) if waiting]
    outbox.acknowledge(numbers[1])
    outbox.restart()
    outbox.append(event(5))
    assert taken(outbox, 9) == [(0, True), (2, True), (3, True), (4, True), (5, False)]


def test_what_waited_for_a_second_restart_keeps_its_order_and_says_replayed() -> None:
    outbox = filled(2)
    outbox.restart()
    taken(outbox, 1)
    outbox.append(event(2))
    outbox.restart()
    assert taken(outbox, 9) == [(0, True), (1, True), (2, True)]


def test_a_full_outbox_drops_the_oldest_and_counts() -> None:
    outbox = filled(3, limit=3)
    assert not outbox.append(event(3))
    assert not outbox.append(event(4))
    assert (len(outbox), outbox.dropped) == (3, 2)
    assert [seq for seq, _ in taken(outbox, 9)] == [2, 3, 4]


def test_the_oldest_is_dropped_also_if_it_is_on_its_way() -> None:
    outbox = filled(2, limit=2)
    first = outbox.take()
    assert first is not None
    outbox.append(event(2))
    assert outbox.dropped == 1
    assert not outbox.acknowledge(first.number)
    outbox.restart()
    assert taken(outbox, 9) == [(1, True), (2, True)]


def test_events_with_the_same_number_are_both_kept() -> None:
    outbox = Outbox(10)
    outbox.append(event(7))
    outbox.append(event(7))
    assert [seq for seq, _ in taken(outbox, 9)] == [7, 7]


def test_discarding_counts_what_was_on_its_way_too() -> None:
    outbox = filled(3)
    outbox.take()
    assert outbox.discard() == 3
    assert (len(outbox), outbox.dropped, outbox.take()) == (0, 3, None)


def test_an_outbox_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Outbox(0)

from __future__ import annotations

import pytest
from support.samples import event

from edge_emotion.outbox.outbox import Entry, Outbox
from edge_emotion.wire.payloads import event_to_json


def add(outbox: Outbox, seq: int, now: float = 0.0) -> bool:
    return outbox.append(seq, "desk", event_to_json(event(seq)), now)


def filled(count: int, limit: int = 100) -> Outbox:
    outbox = Outbox(limit)
    for seq in range(count):
        add(outbox, seq)
    return outbox


def taken(outbox: Outbox, count: int = 9) -> list[tuple[int, bool]]:
    """Number and replayed flag of the next ``count`` events, or of all that are left."""
    result = []
    for _ in range(count):
        waiting = outbox.take()
        if waiting is None:
            break
        result.append((waiting[0].seq, waiting[1]))
    return result


def take(outbox: Outbox) -> Entry:
    waiting = outbox.take()
    assert waiting is not None
    return waiting[0]


def entry(number: int, since: float = 0.0) -> Entry:
    return Entry(number, number * 10, "desk", b"{}", since)


def test_events_are_given_out_in_order_and_only_once() -> None:
    outbox = filled(3)
    assert taken(outbox) == [(0, False), (1, False), (2, False)]
    assert outbox.take() is None


def test_an_event_leaves_when_it_is_acknowledged_not_when_it_is_taken() -> None:
    outbox = filled(2)
    first = take(outbox)
    assert len(outbox) == 2
    assert outbox.acknowledge(first.number)
    assert len(outbox) == 1


def test_acknowledging_twice_is_harmless() -> None:
    outbox = filled(1)
    first = take(outbox)
    assert outbox.acknowledge(first.number)
    assert not outbox.acknowledge(first.number)
    assert len(outbox) == 0


def test_what_was_not_acknowledged_comes_again_first_and_as_replayed() -> None:
    outbox = filled(5)
    numbers = [take(outbox).number for _ in range(3)]
    outbox.acknowledge(numbers[1])
    outbox.restart(0.0)
    add(outbox, 5)
    assert taken(outbox) == [(0, True), (2, True), (3, True), (4, True), (5, False)]


def test_what_waited_for_a_second_restart_keeps_its_order_and_says_replayed() -> None:
    outbox = filled(2)
    outbox.restart(0.0)
    taken(outbox, 1)
    add(outbox, 2)
    outbox.restart(0.0)
    assert taken(outbox) == [(0, True), (1, True), (2, True)]


def test_a_full_outbox_drops_the_oldest_and_counts() -> None:
    outbox = filled(3, limit=3)
    assert not add(outbox, 3)
    assert not add(outbox, 4)
    assert (len(outbox), outbox.dropped, outbox.expired) == (3, 2, 0)
    assert [seq for seq, _ in taken(outbox)] == [2, 3, 4]


def test_the_oldest_is_dropped_also_if_it_is_on_its_way() -> None:
    outbox = filled(2, limit=2)
    first = take(outbox)
    add(outbox, 2)
    assert outbox.dropped == 1
    assert not outbox.acknowledge(first.number)
    outbox.restart(0.0)
    assert taken(outbox) == [(1, True), (2, True)]


def test_events_with_the_same_number_are_both_kept() -> None:
    outbox = Outbox(10)
    add(outbox, 7)
    add(outbox, 7)
    assert [seq for seq, _ in taken(outbox)] == [7, 7]


def test_discarding_counts_what_was_on_its_way_too() -> None:
    outbox = filled(3)
    outbox.take()
    assert outbox.discard() == 3
    assert (len(outbox), outbox.dropped, outbox.take()) == (0, 3, None)


def test_what_somebody_else_keeps_is_forgotten_without_counting_it() -> None:
    outbox = filled(3)
    assert outbox.clear() == 3
    assert (len(outbox), outbox.dropped) == (0, 0)


def test_an_outbox_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Outbox(0)


def test_what_waited_too_long_is_dropped_and_counted_but_not_what_is_on_its_way() -> None:
    outbox = Outbox(10, max_age=60.0)
    for seq in range(4):
        add(outbox, seq, now=seq * 10.0)
    outbox.take()
    outbox.expire(75.0)
    assert (len(outbox), outbox.dropped, outbox.expired) == (3, 1, 1)
    assert taken(outbox) == [(2, False), (3, False)]
    outbox.restart(85.0)
    assert taken(outbox) == [(3, True)]
    assert (outbox.dropped, outbox.expired) == (3, 3)


def test_with_a_store_an_event_is_given_out_only_after_it_was_stored() -> None:
    outbox = Outbox(10)
    outbox.load([], 0.0)
    add(outbox, 1)
    assert outbox.take() is None
    changes = outbox.collect()
    assert [entry.seq for entry in changes.new] == [1]
    assert outbox.take() is None
    add(outbox, 2)
    outbox.stored(changes.upto)
    assert taken(outbox) == [(1, False)]


def test_the_store_hears_of_every_stored_event_that_left_and_of_no_other() -> None:
    outbox = Outbox(2)
    outbox.load([], 0.0)
    for seq in range(3):
        add(outbox, seq)  # the first one makes room before it was stored
    changes = outbox.collect()
    assert [entry.seq for entry in changes.new] == [1, 2] and changes.gone == []
    outbox.stored(changes.upto)
    first = take(outbox)
    outbox.acknowledge(first.number)
    add(outbox, 3)
    add(outbox, 4)
    changes = outbox.collect()
    assert [entry.seq for entry in changes.new] == [3, 4]
    assert changes.gone == [first.number, first.number + 1]


def test_an_event_that_leaves_while_it_is_being_stored_is_taken_from_the_store_next_time() -> None:
    outbox = Outbox(1)
    outbox.load([], 0.0)
    add(outbox, 1)
    changes = outbox.collect()
    add(outbox, 2)
    outbox.stored(changes.upto)
    assert outbox.collect().gone == [changes.new[0].number]
    assert outbox.take() is None


def test_events_of_an_earlier_run_come_first_as_replayed_and_are_not_stored_again() -> None:
    outbox = Outbox(10)
    add(outbox, 1000)  # before anything was opened
    outbox.load([entry(4), entry(7)], 0.0)
    add(outbox, 1001)
    changes = outbox.collect()
    assert [(new.number, new.seq) for new in changes.new] == [(8, 1000), (9, 1001)]
    outbox.stored(changes.upto)
    assert taken(outbox) == [(40, True), (70, True), (1000, False), (1001, False)]


def test_of_too_many_events_of_an_earlier_run_the_oldest_are_dropped_and_leave_the_store() -> None:
    outbox = Outbox(2, max_age=60.0)
    outbox.load([entry(1), entry(2, since=10.0), entry(3, since=50.0)], 80.0)
    assert (len(outbox), outbox.dropped, outbox.expired) == (1, 2, 1)
    assert outbox.collect().gone == [1, 2]


def test_without_its_store_all_is_given_out_and_with_a_new_one_all_is_stored_again() -> None:
    outbox = Outbox(10)
    outbox.load([], 0.0)
    add(outbox, 1)
    add(outbox, 2)
    outbox.release()
    first = take(outbox)
    assert first.seq == 1
    changes = outbox.collect_all()
    assert [entry.seq for entry in changes.new] == [1, 2]
    add(outbox, 3)
    assert taken(outbox) == [(2, False)]
    assert [entry.seq for entry in outbox.collect().new] == [3]
    outbox.acknowledge(first.number)
    assert outbox.collect().gone == [first.number]


def test_it_is_known_whether_any_event_from_a_number_on_still_waits() -> None:
    outbox = filled(3)
    assert outbox.waits_from(2) and not outbox.waits_from(3)
    last = [take(outbox).number for _ in range(3)][-1]
    assert outbox.waits_from(2)
    outbox.acknowledge(last)
    assert outbox.waits_from(1) and not outbox.waits_from(2)
